"""Alert rules and the dashboard: the rules by Prometheus' own tool, and the names that both use."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from jatevo.telemetry import exposition

FOLDER = Path(__file__).parents[2] / "deploy" / "telemetry"
RULES = FOLDER / "alerts.yml"
# of PromQL, which look like names of metrics
WORDS = {
    "absent", "and", "by", "count", "histogram_quantile", "increase", "max", "max_over_time", "on", "or", "rate", "sum",
    "topk", "unless",
    "code", "event", "kind", "le", "op", "outcome", "route", "state", "status", "store", "task",
}  # fmt: skip


def promtool(*arguments: str) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_valid() -> None:
    promtool("check", "rules", str(RULES))


def test_alerts_fire_when_they_should_and_are_silent_otherwise() -> None:
    promtool("test", "rules", str(Path(__file__).with_name("alerts_test.yml")))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard_expressions() -> list[str]:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def names_in(expression: str) -> set[str]:
    """The metrics that an expression of PromQL reads."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]|\{\{?[^}]*\}', " ", expression)
    return set(re.findall(r"\b[a-z_][a-z0-9_]*(?::[a-z0-9_:]+)?\b", bare)) - WORDS


@pytest.fixture
def exposed(db: None) -> set[str]:
    """The names of all samples that the console has or may have."""
    text = exposition.page().decode()
    found: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        found |= {f"{name}{end}" for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return found


def test_every_alert_is_tested() -> None:
    tested = re.findall(r"alertname: (\w+)", Path(__file__).with_name("alerts_test.yml").read_text())
    assert {rule["alert"] for rule in rules() if "alert" in rule} == set(tested)


def test_rules_and_dashboard_use_only_metrics_that_exist(exposed: set[str]) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    expressions = [*(rule["expr"] for rule in rules()), *dashboard_expressions()]
    assert len(expressions) > 30
    for expression in expressions:
        assert names_in(expression), expression
        assert names_in(expression) <= exposed | recorded, expression


def test_metrics_have_the_names_of_the_plan(exposed: set[str]) -> None:
    assert exposed >= {
        "api_http_request_duration_seconds_bucket",
        "db_query_duration_seconds_bucket",
        "summary_active_nodes",
        "summary_requests_24h",
        "summary_models_cached",
        "outbox_age_seconds",
        "worker_jobs",
        "worker_heartbeat_age_seconds",
        "store_breaker_open",
        "frontend_events_total",
    }
