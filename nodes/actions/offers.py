"""The history of the models that a node offers."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from jatevo.wire.names import normal_model
from nodes.models import Node, NodeOffer

# A model that comes back within this time continues its last offer. The rules of payment look as far back.
RESUMED_WITHIN = timedelta(days=1)
# Offers that begin within a day. It keeps a faulty or hostile agent from filling the history.
MOST_OFFERS = 400


def record_offers(*, node_id: str, at: datetime) -> None:
    """Ends the offers of models that the node no longer offers, and begins those of new ones.

    It depends only on the stored rows, so it can be repeated. Offers beyond MOST_OFFERS a day are left out,
    until a later change of the models.
    """
    with transaction.atomic():
        node = Node.objects.select_for_update(no_key=True).only("id", "models_offered").get(pk=node_id)
        offered = set(map(normal_model, node.models_offered))
        known = _latest(node, at)
        gone = [each for each in known.values() if each.offered_until is None and each.model not in offered]
        for offer in gone:
            offer.offered_until = max(at, offer.offered_from)
        back = [
            known[model] for model in offered if model in known and known[model].offered_until is not None
        ]
        for offer in back:
            offer.offered_until = None
        NodeOffer.objects.bulk_update([*gone, *back], ["offered_until"])
        standing = {model for model, offer in known.items() if offer.offered_until is None}
        recent = node.offers.filter(offered_from__gt=at - timedelta(days=1)).count()
        NodeOffer.objects.bulk_create(
            NodeOffer(node=node, model=model, offered_from=at)
            for model in sorted(offered - standing)[: max(0, MOST_OFFERS - recent)]
        )
        Node.objects.filter(pk=node_id).update(offers_behind=False)


def _latest(node: Node, at: datetime) -> dict[str, NodeOffer]:
    """The last offer of each model that has one under way or might resume one."""
    recent = Q(offered_until__isnull=True) | Q(offered_until__gte=at - RESUMED_WITHIN)
    rows = node.offers.filter(recent).order_by("model", "-offered_from", "-id").distinct("model")
    return {offer.model: offer for offer in rows}
