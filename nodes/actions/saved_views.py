"""Keeping views of the node list."""

from django.db import transaction

from jatevo.accounts.models import User
from nodes.actions.errors import NotPossible
from nodes.models import SavedView

MOST_VIEWS = 20


def save_view(*, name: str, query: str, by: User) -> SavedView:
    """Keeps a view under a name; one of that name is replaced. Raises NotPossible beyond MOST_VIEWS."""
    name = " ".join(name.split())
    with transaction.atomic():
        # the person's row is the lock: two tabs at once must not make a twenty-first
        User.objects.select_for_update().get(pk=by.pk)
        others = SavedView.objects.filter(user=by).exclude(name=name)
        if others.count() >= MOST_VIEWS:
            raise NotPossible(f"You keep {MOST_VIEWS} views already; delete one first.")
        view, _ = SavedView.objects.update_or_create(user=by, name=name, defaults={"query": query})
    return view


def delete_view(*, view_id: int, by: User) -> bool:
    """Forgets a view of one's own; False if there is none."""
    deleted, _ = SavedView.objects.filter(user=by, pk=view_id).delete()
    return bool(deleted)
