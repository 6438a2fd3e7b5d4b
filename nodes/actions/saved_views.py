"""Saving and deleting views of the node list."""

from django.db import transaction

from jatevo.accounts.models import User
from nodes.actions.errors import NotPossible
from nodes.models import SavedView

MOST_VIEWS = 20


def save_view(*, name: str, query: str, by: User) -> SavedView:
    """Saves a view under a name, replacing a view of that name. Raises NotPossible beyond MOST_VIEWS."""
    name = " ".join(name.split())
    with transaction.atomic():
        # the person's row is the lock, so that two tabs cannot exceed the limit together
        User.objects.select_for_update().get(pk=by.pk)
        others = SavedView.objects.filter(user=by).exclude(name=name)
        if others.count() >= MOST_VIEWS:
            raise NotPossible(f"You already have {MOST_VIEWS} saved views. Delete one first.")
        view, _ = SavedView.objects.update_or_create(user=by, name=name, defaults={"query": query})
    return view


def delete_view(*, view_id: int, by: User) -> bool:
    """Deletes one of the person's own views. Returns False if there is none."""
    deleted, _ = SavedView.objects.filter(user=by, pk=view_id).delete()
    return bool(deleted)
