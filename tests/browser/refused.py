"""Has the newest receipt of the node that keeps the console busy refused as a conflict, and a forged one beside it.

It runs in the console's environment (`RunningConsole.work`) and prints the paths of their pages as JSON.
"""

import json


def write() -> list[str]:
    """Writes the rows as acceptance does, without quarantining the node."""
    # Django must be set up first.
    import orjson
    from django.utils import timezone

    from receipts.models import Receipt, RefusalReason, RefusedReceipt
    from receipts.refused.recording import Refusal, keep

    newest = Receipt.objects.order_by("-accepted_at", "-id")[0]
    changed = orjson.loads(bytes(newest.raw)) | {"tokens_output": newest.tokens_output + 1}
    raw = orjson.dumps(changed, option=orjson.OPT_INDENT_2)
    detail = "as the tests of pages have it"
    refusals = [
        Refusal(reason, raw, newest.request_id, detail, bytes(newest.public_key))
        for reason in (RefusalReason.CONFLICT, RefusalReason.FORGED)
    ]
    keep(newest.node_id, refusals, at=timezone.now())
    rows = RefusedReceipt.objects.filter(node=newest.node_id, request_id=newest.request_id)
    return [f"/receipts/~refused/{row.pk}/" for row in rows]


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(write()))
