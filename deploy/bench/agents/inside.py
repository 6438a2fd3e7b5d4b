"""What needs the console's database: `python -m bench.agents.inside before N` makes an enrolment for N nodes and a
validator, `… after` says what became of the nodes. Both print JSON.
"""

import json
import os
import sys
from pathlib import Path

VALIDATOR = "bench-validator"


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")
    django.setup()
    said = before(int(sys.argv[2])) if sys.argv[1] == "before" else after()
    print(json.dumps(said))


def before(nodes: int) -> dict[str, str]:
    from django.conf import settings
    from django.utils import timezone

    from jatevo.accounts.models import Role
    from jatevo.local.seed import seed_users
    from nodes.actions import create_sender, enrol
    from nodes.models import Validator

    people = {login.role: login.user for login in seed_users(Path(settings.HOME))}
    operator, admin = people[Role.OPERATOR], people[Role.ADMIN]
    if operator.org is None:
        raise RuntimeError("the seeded operator has no organisation")
    _, enrolment = enrol(org=operator.org, by=admin, at=timezone.now(), uses=nodes)
    _, validator = create_sender(Validator, name=VALIDATOR, by=admin, at=timezone.now())
    return {"enrolment": enrolment, "validator_id": VALIDATOR, "validator_token": validator}


def after() -> dict[str, object]:
    from django.db.models import Count

    from nodes.models import Node, NodeTransition
    from nodes.rules.lifecycle import Status
    from receipts.models import Receipt

    return {
        "statuses": dict(Node.objects.values_list("status").annotate(Count("id"))),
        "went offline": NodeTransition.objects.filter(to_status=Status.OFFLINE).count(),
        "left active": NodeTransition.objects.filter(from_status=Status.ACTIVE).count(),
        "receipts": Receipt.objects.count(),
        "distinct receipts": Receipt.objects.values("node_id", "request_id").distinct().count(),
    }


if __name__ == "__main__":
    main()
