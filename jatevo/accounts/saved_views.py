"""Saved views: searches of a list that a person keeps under a name. The lists have models of their own."""

from typing import Final, TypeVar

from django import forms
from django.db import models, transaction
from django.db.models.functions import Now

from jatevo.accounts.models import User

MOST_VIEWS: Final = 20
LONGEST_QUERY: Final = 1000
LONGEST_NAME: Final = 60


class NamedQuery(models.Model):
    """A name and a query string. A model of it adds `user`, and allows each of a person's names once."""

    name = models.CharField(max_length=LONGEST_NAME)
    query = models.CharField(max_length=LONGEST_QUERY, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


V = TypeVar("V", bound=NamedQuery)


class ViewNotSaved(Exception):
    """The view cannot be saved or renamed. The message says why."""


class ViewNameForm(forms.Form):
    """The name of a view."""

    _RULE = f"Give the view a name of at most {LONGEST_NAME} characters."

    name = forms.CharField(max_length=LONGEST_NAME, error_messages={"required": _RULE, "max_length": _RULE})

    def clean_name(self) -> str:
        """The name with single spaces."""
        return " ".join(self.cleaned_data["name"].split())


def save_view(model: type[V], *, name: str, query: str, by: User) -> V:
    """Saves a query string under a name, replacing the person's view of that name.

    Raises ViewNotSaved beyond MOST_VIEWS, or for a query of more than LONGEST_QUERY characters.
    """
    if len(query) > LONGEST_QUERY:
        raise ViewNotSaved(f"This search is too long to save: more than {LONGEST_QUERY} characters.")
    with transaction.atomic():
        _lock(by)
        own = model._default_manager.filter(user=by)
        if own.exclude(name=name).count() >= MOST_VIEWS:
            raise ViewNotSaved(f"You already have {MOST_VIEWS} saved views. Delete one first.")
        view, _ = model._default_manager.update_or_create(user=by, name=name, defaults={"query": query})
    return view


def rename_view(model: type[V], *, view_id: int, name: str, by: User) -> bool:
    """Renames one of the person's own views. Returns False if there is none. Raises ViewNotSaved."""
    with transaction.atomic():
        _lock(by)
        own = model._default_manager.filter(user=by)
        if own.filter(name=name).exclude(pk=view_id).exists():
            raise ViewNotSaved(f"You already have a view “{name}”.")
        return bool(own.filter(pk=view_id).update(name=name))


def delete_view(model: type[V], *, view_id: int, by: User) -> bool:
    """Deletes one of the person's own views. Returns False if there is none."""
    deleted, _ = model._default_manager.filter(user=by, pk=view_id).delete()
    return bool(deleted)


def _lock(user: User) -> None:
    """The person's row is the lock, so that two tabs cannot exceed the limit or take one name together."""
    User.objects.select_for_update().get(pk=user.pk)
