"""An operator in a browser, and a node of theirs."""

import pytest

from jatevo.accounts.models import Org
from nodes.models import Node
from tests.factories import NodeFactory
from tests.page_readers import operator, org

__all__ = ["operator", "org"]


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(id="macbook-001", org=org)
    return made
