"""`manage.py demo_fleet`, for a demo beside a console on services. `make image-test` runs it in its container."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from jatevo.local.demo import NODES
from jatevo.local.management.commands import demo_fleet
from jatevo.local.stopping import StopRequest
from nodes.models import Enrollment


@pytest.mark.django_db
def test_it_makes_logins_and_enrolments_and_ends_when_asked(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.HOME = tmp_path / "home"
    asked = StopRequest()
    asked.ask()
    monkeypatch.setattr(demo_fleet, "listen", lambda: asked)
    out = StringIO()
    call_command("demo_fleet", "--console", "http://proxy:8081", stdout=out)
    credentials = settings.HOME / "credentials.json"
    assert str(credentials) in out.getvalue()
    assert set(json.loads(credentials.read_text())) == {"admin", "operator", "viewer"}
    assert Enrollment.objects.count() == len(NODES)
    assert "http://proxy:8081" in (settings.HOME / "demo" / NODES[0].node_id / "agent.yaml").read_text()
