"""`python -m tests.restore.loading begin|post|accrue|ship|verify`, on the stores that the environment names.

Receipts come through the console's own front door: signed requests in batches of 500.
"""

import sys
import time
from datetime import timedelta

import django

django.setup()

from django.conf import settings  # noqa: E402 - the settings come first
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from earnings.accrual import accrue_all  # noqa: E402
from jatevo.metrics.shipper import ship  # noqa: E402
from nodes.models import Node, NodeTransition, Validator  # noqa: E402
from receipts.models import Receipt  # noqa: E402
from receipts.search.filling import fill  # noqa: E402
from receipts.search.verdicts import deliver_verdicts  # noqa: E402
from receipts.verify import verify  # noqa: E402
from tests.earnings.rows import make_rate  # noqa: E402
from tests.factories import NodeFactory, OrgFactory, ValidatorFactory, signed_receipt  # noqa: E402
from tests.machines import SignedSender  # noqa: E402

NODES = 12  # each posts a batch at a time
IN_A_BATCH = 500
VERIFIED = 500
SINCE = timezone.now() - timedelta(days=2)


def begin() -> None:
    make_rate()
    org = OrgFactory.create(name="Restored machines")
    ValidatorFactory.create()
    for number in range(NODES):
        node = NodeFactory.create(id=f"restored-{number}", org=org, status="active", concurrency=64)
        Node.objects.filter(pk=node.pk).update(created_at=SINCE, status_since=SINCE)
        NodeTransition.objects.create(
            node=node, at=SINCE, from_status="probing", to_status="active", reason="probe_passed",
            actor_kind="system", actor_id="console",
        )  # fmt: skip


def post() -> None:
    """A batch of each node, of requests of a second each, one after the other; a heartbeat and a probe."""
    now = int(timezone.now().timestamp())
    validator = SignedSender.validator(Validator.objects.get())
    for node in Node.objects.order_by("id"):
        times = (now - 5 - number for number in range(IN_A_BATCH))
        receipts = [signed_receipt(node.pk, ts_start=end - 1, ts_end=end, cache_hit=False) for end in times]
        answer = SignedSender.node(node).send("/v1/receipts", {"receipts": receipts})
        assert answer.status_code == 200, answer.content
        assert {each["status"] for each in answer.json()["results"]} == {201}, answer.content
        assert SignedSender.node(node).beat().status_code == 200
        probe = {"node_id": node.pk, "kind": "latency", "ok": True, "ts": time.time(), "p50": 90, "p95": 210}
        assert validator.send("/v1/probes", probe).status_code == 201


def accrue() -> None:
    accrue_all(at=timezone.now())


def ship_all() -> None:
    while ship(at=timezone.now()).rows:
        pass
    while fill(at=timezone.now()).left:
        pass
    deliver_verdicts()


def check_signatures() -> None:
    chosen = list(Receipt.objects.order_by("?")[:VERIFIED])
    assert len(chosen) == VERIFIED
    invalid = [receipt.request_id for receipt in chosen if not verify(receipt).valid]
    assert not invalid, invalid


if __name__ == "__main__":
    settings.ALLOWED_HOSTS = ["testserver"]
    {"begin": begin, "post": post, "accrue": accrue, "ship": ship_all, "verify": check_signatures}[
        sys.argv[1]
    ]()
    connection.close()
