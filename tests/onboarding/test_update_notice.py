"""The page of a node whose agent is older than the one that the console serves."""

import pytest

from jatevo.accounts.models import Org, Role
from nodes.models import Node
from onboarding.agent_wheel import agent_wheel, newest_version
from onboarding.slots import is_older
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory

OFFER = "A newer agent is available"


@pytest.mark.parametrize(
    ("version", "newest", "older"),
    [
        ("1.1.0", "2.0.0", True),
        ("1.9", "1.10", True),
        ("2.0", "2.0.0", False),
        ("2.0.0", "2.0.0", False),
        ("2.0.1", "2.0.0", False),
        ("10.0", "9.0", False),
        ("", "2.0.0", False),
        ("2.0.0rc1", "2.0.0", False),
        ("my-agent", "2.0.0", False),
        ("1.0.0\n", "2.0.0", False),
        ("9" * 5000, "2.0.0", False),
    ],
)
def test_what_is_older(version: str, newest: str, older: bool) -> None:
    assert is_older(version, newest) is older


def test_the_newest_version_is_that_of_the_wheel() -> None:
    assert newest_version() == agent_wheel().version


@pytest.mark.django_db
def test_the_owner_of_an_older_agent_is_offered_the_update(operator: Browser, org: Org) -> None:
    NodeFactory.create(id="old-1", org=org, agent_version="1.1.0")
    page = operator.get("/nodes/old-1/").content.decode()
    assert OFFER in page
    assert "This node runs version 1.1.0" in page
    assert "~/.jatevo/venv/bin/jatevo-agent update --config ~/.jatevo/agent.yaml" in page
    Node.objects.update(agent_version=newest_version())
    assert OFFER not in operator.get("/nodes/old-1/").content.decode()


@pytest.mark.django_db
def test_nobody_else_is_told_what_the_node_runs(org: Org) -> None:
    NodeFactory.create(id="old-1", org=org, agent_version="1.1.0", shared=True)
    viewer = Browser().hold_session(make_user(Role.VIEWER, org=OrgFactory.create()))
    assert OFFER not in viewer.get("/nodes/old-1/").content.decode()
