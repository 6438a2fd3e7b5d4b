"""compose.yaml and the Dockerfile agree with the rest of the project."""

import re
from pathlib import Path
from typing import Any

import yaml

BASE_DIR = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((BASE_DIR / "compose.yaml").read_text())
CONSOLE = {"web", "lane", "worker", "consume", "migrate"}
WITH_PROFILE = {"consume", "nats"}
DOCKERFILE = (BASE_DIR / "Dockerfile").read_text()


def test_the_console_waits_for_migrations_and_those_for_healthy_stores() -> None:
    services = COMPOSE["services"]
    assert set(services) == {*CONSOLE, "postgres", "valkey", "clickhouse", "nats"}
    for name in CONSOLE - {"migrate"}:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for store in ("postgres", "clickhouse"):
        assert services["migrate"]["depends_on"][store] == {"condition": "service_healthy"}
    for store in ("postgres", "valkey", "clickhouse", "nats"):
        assert services[store]["healthcheck"]["test"]


def test_only_the_event_bus_needs_a_profile() -> None:
    services = COMPOSE["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["nats"]} == WITH_PROFILE
    for name in set(services) - WITH_PROFILE:
        assert "profiles" not in services[name]
        assert not WITH_PROFILE & set(services[name].get("depends_on", {}))


def test_what_must_not_be_lost_lies_in_named_volumes() -> None:
    used = [
        volume.split(":")[0]
        for each in COMPOSE["services"].values()
        for volume in each.get("volumes", [])
        if not volume.startswith("./")
    ]
    assert sorted(set(used)) == sorted(COMPOSE["volumes"]) == ["clickhouse", "metrics", "nats", "postgres"]
    assert COMPOSE["volumes"]["metrics"]["driver_opts"]["type"] == "tmpfs", "which may be lost"


def test_all_processes_of_the_console_count_in_one_folder() -> None:
    for name in CONSOLE:
        service = COMPOSE["services"][name]
        assert f"metrics:{service['environment']['PROMETHEUS_MULTIPROC_DIR']}" in service["volumes"]


def test_the_file_has_no_secret_and_little_is_reachable_from_this_host() -> None:
    for name, service in COMPOSE["services"].items():
        for variable, value in service.get("environment", {}).items():
            if name in WITH_PROFILE and "NATS" in variable:
                # the rest starts without a password for it, so its own command refuses an empty one
                assert re.search(r"\$\{NATS_[A-Z_]*PASSWORD:-\}", value), (name, variable)
            elif "PASSWORD" in variable or ("URL" in variable and name in CONSOLE):
                assert re.search(r"\$\{[A-Z_]+:\?", value) or "valkey" in value, (name, variable)
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert ports == {
        "web": ["127.0.0.1:8000:8000"], "lane": ["127.0.0.1:8001:8001"], "nats": ["127.0.0.1:4222:4222"]
    }  # fmt: skip
    (_, _, started) = COMPOSE["services"]["nats"]["command"]
    for variable in COMPOSE["services"]["nats"]["environment"]:
        assert f"$${{{variable}:?" in started


def test_the_image_uses_the_same_uv_as_make_and_an_unprivileged_user() -> None:
    in_make = re.search(r"^UV_VERSION=(\S+)", (BASE_DIR / "deploy/bin/setup.sh").read_text(), re.MULTILINE)
    in_image = re.search(r"^ARG UV_VERSION=(\S+)", DOCKERFILE, re.MULTILINE)
    assert in_make is not None and in_image is not None
    assert in_make[1] == in_image[1]
    last_stage = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert "\nUSER 10001\n" in last_stage
    assert "pip" not in last_stage
