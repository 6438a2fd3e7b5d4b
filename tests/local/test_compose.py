"""compose.yaml, the files it mounts and the Dockerfile agree with the rest of the project. `make image-test` runs them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from jatevo.lane.application import application as lane

BASE_DIR = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((BASE_DIR / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONSOLE = {"web", "lane", "worker", "consume", "migrate", "demo"}
STORES = {"postgres", "valkey", "clickhouse"}
TELEMETRY = {"prometheus", "grafana", "collector"}
BUS = {"consume", "nats"}
DOCKERFILE = (BASE_DIR / "Dockerfile").read_text()
ROUTES = (BASE_DIR / "deploy/proxy/routes.conf").read_text()
PROXY = (BASE_DIR / "deploy/proxy/nginx.conf").read_text()
SECRETS_SCRIPT = (BASE_DIR / "deploy/bin/secrets.sh").read_text()


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What a service mounts: source to target."""
    return {source: target for source, target, *_ in (each.split(":") for each in service.get("volumes", []))}


def test_without_a_profile_the_console_its_proxy_and_its_stores_are_started() -> None:
    started = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert started == {"proxy", *CONSOLE, *STORES} - {"demo", "consume"}
    assert SERVICES["demo"]["profiles"] == ["demo"]
    assert all(SERVICES[name]["profiles"] == ["nats"] for name in BUS)
    assert all(SERVICES[name]["profiles"] == ["telemetry"] for name in TELEMETRY)


def test_the_console_waits_for_migrations_and_those_for_healthy_stores() -> None:
    for name in ("web", "lane", "worker", "consume"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for store in ("postgres", "clickhouse"):
        assert SERVICES["migrate"]["depends_on"][store] == {"condition": "service_healthy"}
    for name in ("web", "lane"):
        assert SERVICES["proxy"]["depends_on"][name] == {"condition": "service_healthy"}
    for store in STORES:
        assert SERVICES[store]["healthcheck"]["test"]


def test_what_must_not_be_lost_lies_in_named_volumes() -> None:
    used = {source for each in SERVICES.values() for source in mounts(each) if not source.startswith("./")}
    assert used == set(COMPOSE["volumes"])
    assert {"postgres", "clickhouse", "nats"} <= used
    assert COMPOSE["volumes"]["metrics"]["driver_opts"]["type"] == "tmpfs", "which may be lost"


def test_every_file_that_is_mounted_exists() -> None:
    files = [source for each in SERVICES.values() for source in mounts(each) if source.startswith("./")]
    assert len(files) >= 8
    assert not [each for each in files if not (BASE_DIR / each).is_file()]


def test_all_processes_of_the_console_count_in_one_folder() -> None:
    for name in CONSOLE:
        assert mounts(SERVICES[name])["metrics"] == SERVICES[name]["environment"]["PROMETHEUS_MULTIPROC_DIR"]


def test_every_secret_that_is_used_is_declared_and_written_by_the_script() -> None:
    used = {secret for each in SERVICES.values() for secret in each.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert re.search(rf"(^secret |secrets/){name}\b", SECRETS_SCRIPT, re.MULTILINE), name


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_the_secrets_whose_files_it_reads(name: str) -> None:
    service = SERVICES[name]
    read = set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(service)))
    if name == "proxy":
        read |= set(re.findall(r"/run/secrets/(\w+)", PROXY))
    if name == "prometheus":
        read |= set(
            re.findall(r"/run/secrets/(\w+)", (BASE_DIR / "deploy/telemetry/prometheus.yml").read_text())
        )
    assert read == set(service.get("secrets", []))


def test_no_secret_is_in_the_file_or_in_a_variable() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY", variable):
                assert variable.endswith("_FILE"), (name, variable)
                assert value.startswith("/run/secrets/"), (name, variable)
            assert not re.search(r"://[^/@]*:[^/@]*@", value), (name, variable)


@pytest.mark.parametrize("name", sorted({*CONSOLE, "proxy", "postgres", "valkey"}))
def test_a_service_can_neither_write_to_its_root_nor_gain_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "network_mode"} & set(service)
    if name not in CONSOLE:  # whose image has a user
        assert service["user"]


def test_only_the_proxy_is_reachable_from_other_machines_and_only_the_console_reaches_the_stores() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"proxy", "grafana", "nats"}
    assert all(port.startswith("127.0.0.1:") for name in ("grafana", "nats") for port in published[name])
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    assert {name for name, each in SERVICES.items() if "stores" in each["networks"]} == CONSOLE | STORES
    assert all(SERVICES[name]["networks"] == ["stores"] for name in STORES)


def test_every_image_of_others_names_a_version() -> None:
    images = {name: service["image"] for name, service in SERVICES.items() if "build" not in service}
    for name, image in images.items():
        assert re.fullmatch(r"docker\.io/[a-z0-9/.-]+:v?\d+[\d.]*(-alpine)?", image), name


def test_the_proxy_sends_the_lane_its_endpoints_and_nothing_else() -> None:
    [paths] = re.findall(r"^location ~ \^/v1/\(([a-z/|]+)\)\$ \{", ROUTES, re.MULTILINE)
    assert {f"/v1/{path}" for path in paths.split("|")} == lane.paths
    assert ROUTES.count("$post_to") == 1
    assert re.search(r"map \$request_method \$post_to \{ default console; POST lane; \}", PROXY)


def test_the_proxys_upstreams_are_services_on_the_ports_that_those_listen_on() -> None:
    upstreams = dict(re.findall(r"^ +upstream (\w+) +\{.* server ([\w:]+) ", PROXY, re.MULTILINE))
    assert upstreams == {"console": "web:8000", "lane": "lane:8001"}
    assert SERVICES["lane"]["command"][6] == "8001"
    assert '"--port", "8000"' in DOCKERFILE


def test_prometheus_asks_a_service_by_a_name_that_the_console_answers_to() -> None:
    settings = yaml.safe_load((BASE_DIR / "deploy/telemetry/prometheus.yml").read_text())
    [job] = settings["scrape_configs"]
    [target] = job["static_configs"][0]["targets"]
    assert target == "web:8000"
    assert SERVICES["web"]["environment"]["JATEVO_ALLOWED_HOSTS"].endswith(",web,proxy")
    assert settings["rule_files"] == [mounts(SERVICES["prometheus"])["./deploy/telemetry/alerts.yml"]]


def test_the_image_uses_the_same_uv_as_make_and_an_unprivileged_user() -> None:
    in_make = re.search(r"^UV_VERSION=(\S+)", (BASE_DIR / "deploy/bin/setup.sh").read_text(), re.MULTILINE)
    in_image = re.search(r"^ARG UV_VERSION=(\S+)", DOCKERFILE, re.MULTILINE)
    assert in_make is not None and in_image is not None
    assert in_make[1] == in_image[1]
    stages = DOCKERFILE.split("\nFROM ")
    assert stages[-1].startswith("base AS console\n"), "what `docker build .` makes"
    [base] = [stage for stage in stages if stage.startswith("${PYTHON_IMAGE} AS base\n")]
    assert "\nUSER 10001\n" in base
    assert "RUN" not in stages[-1]


def test_the_image_has_what_runs_and_nothing_else_of_the_repository() -> None:
    ignored = (BASE_DIR / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((BASE_DIR / each).exists() for each in kept)
    assert not kept & {"tests", "deploy", ".git", ".env", "secrets", "."}
