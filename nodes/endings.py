"""What ends when a person is deactivated, demoted or moved: their enrolments and grants of nodes."""

from datetime import datetime

from guardian.models import UserObjectPermission

from jatevo.accounts.models import User
from jatevo.accounts.standing import ends_with_its_maker
from jatevo.audit.record import Actor, record
from nodes.actions.enrolment import end_enrollments
from nodes.models import Enrollment


@ends_with_its_maker
def end_enrolments_of(user: User, *, by: Actor, at: datetime) -> None:
    """Ends the enrolments that the person created, except those for which they may still enrol."""
    open_ones = Enrollment.objects.filter(created_by=user).unused(at)
    lost = open_ones.exclude(pk__in=open_ones.good(at).values("pk"))
    end_enrollments(lost, by=by, at=at, reason="The person who made it may no longer enrol there.")


@ends_with_its_maker
def end_grants_to(user: User, *, by: Actor, at: datetime) -> None:
    """Ends the grants of single nodes to the person."""
    grants = UserObjectPermission.objects.filter(user=user)
    for node_id, permission in grants.values_list("object_pk", "permission__codename"):
        record(
            "node.grant_end",
            by=by,
            subject_kind="node",
            subject_id=node_id,
            person=user.email,
            permission=permission,
        )
    grants.delete()
