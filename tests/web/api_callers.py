"""The seven kinds of callers of the API, for tests that try what the OpenAPI document promises."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.utils import timezone

from jatevo.accounts.models import Org, Role, User
from nodes.actions import enrol
from nodes.models import Node
from tests.earnings.rows import earn
from tests.factories import GatewayFactory, NodeFactory, ReceiptFactory, UserFactory, ValidatorFactory
from tests.machines import SignedSender, bearer

PLACEHOLDER = "to be filled in"
REGISTRATION = ("POST", "/v1/nodes/register")
NODE, REQUEST = "node-1", "request-1"


class Caller(StrEnum):
    ANONYMOUS = "anonymous"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    NODE = "node"
    VALIDATOR = "validator"
    GATEWAY = "gateway"

    @property
    def is_machine(self) -> bool:
        return self in {Caller.NODE, Caller.VALIDATOR, Caller.GATEWAY}

    @property
    def headers(self) -> dict[str, str]:
        """The headers of its requests before `CalledAs` fills them in.

        Schemathesis must know them, because its checks of authentication send requests without them.
        """
        if self is Caller.ANONYMOUS:
            return {}
        person = {"Authorization": PLACEHOLDER}
        return person | {"webhook-signature": PLACEHOLDER} if self.is_machine else person


@dataclass(frozen=True)
class Network:
    """A node with a receipt and earnings, the people of its organisation, an admin, a validator and a gateway."""

    bearers: Mapping[Caller, str]
    senders: Mapping[Caller, SignedSender]
    enrolment: str

    @classmethod
    def created(cls) -> "Network":
        node: Node = NodeFactory.create(id=NODE)
        ReceiptFactory(node=node, request_id=REQUEST)
        earn(node, timezone.now())
        people = {
            Caller.VIEWER: UserFactory.create(role=Role.VIEWER, org=node.org),
            Caller.OPERATOR: UserFactory.create(role=Role.OPERATOR, org=node.org),
            Caller.ADMIN: UserFactory.create(role=Role.ADMIN),
        }
        return cls(
            bearers={caller: bearer(user)["Authorization"] for caller, user in people.items()},
            senders={
                Caller.NODE: SignedSender.node(node),
                Caller.VALIDATOR: SignedSender.validator(ValidatorFactory.create()),
                Caller.GATEWAY: SignedSender.gateway(GatewayFactory.create()),
            },
            enrolment=_enrolment(node.org, by=people[Caller.ADMIN]),
        )

    def credentials(self, caller: Caller, route: tuple[str, str], body: bytes) -> Mapping[str, str]:
        """The caller's headers on a route, whether or not the route takes them."""
        if caller is Caller.NODE and route == REGISTRATION:
            return {"Authorization": self.enrolment}
        if caller in self.senders:
            return self.senders[caller].headers(body)
        return {"Authorization": self.bearers[caller]}


def _enrolment(org: Org, *, by: User) -> str:
    _, token = enrol(org=org, by=by, at=timezone.now(), uses=100_000)
    return f"Bearer {token}"


class CalledAs:
    """The console as one caller reaches it: placeholders in a request's headers become the caller's credentials.

    Signatures are over the exact bytes, which only the application's own side of the client sees. A header
    that is missing or has another value is left alone: the request tries what happens without credentials.
    """

    def __init__(self, application: Any, network: Network, caller: Caller) -> None:
        self._application = application
        self._network = network
        self._caller = caller

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        to_fill = {name for name in _FILLED if environ.get(name) == PLACEHOLDER}
        for name in to_fill:
            del environ[name]
        if to_fill:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            route = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            for header, value in self._network.credentials(self._caller, route, body).items():
                name = f"HTTP_{header.upper().replace('-', '_')}"
                if name not in _FILLED or name in to_fill:
                    environ[name] = value
        answer = self._application(environ, start_response)
        try:
            return [b"".join(answer)]
        finally:
            # werkzeug does not, and the console would keep the request's connection to PostgreSQL
            answer.close()


_FILLED = {"HTTP_AUTHORIZATION", "HTTP_WEBHOOK_SIGNATURE"}
