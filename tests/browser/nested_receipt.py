"""A receipt with nested members, written into the running console (`RunningConsole.work`).

It prints the receipt's path, and the node's key as text.
"""

import json

NODE = "nested-001"
CHECKPOINTS = [40, 80]
NOTE = {"tags": ["a", {"b": []}], "text": "Grüße"}


def write() -> dict[str, str]:
    """Can run once in an installation."""
    # Django must be set up first.
    from jatevo.wire.keys import public_key_text
    from tests.factories import NodeFactory, ReceiptFactory, signing_key_of

    node = NodeFactory.create(id=NODE)
    receipt = ReceiptFactory(node=node, request_id="r_nested", s3_checkpoints=CHECKPOINTS, note=NOTE)
    return {
        "path": f"/receipts/{NODE}/{receipt.request_id}/",
        "raw": bytes(receipt.raw).decode(),
        "key": public_key_text(bytes(signing_key_of(NODE).verify_key)),
    }


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(write()))
