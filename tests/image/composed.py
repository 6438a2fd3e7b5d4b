"""Starts the services of a compose.yaml with Podman, in the order that their conditions ask for."""

import json
import re
import time
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from tests.image.debian import COMPOSE
from tests.image.engine import Engine, Problem

Service = dict[str, Any]

READY_SECONDS = 600.0  # a busy machine takes minutes for the migrations
WAIT_SECONDS = 0.25
_SIZE = re.compile(r",size=\w+")
# What says nothing about how a container runs here: images are built before, and Podman rotates no logs.
LEFT_OUT = {"build", "logging", "restart", "profiles", "stop_grace_period"}


def read(engine: Engine, project: Path, env: dict[str, str]) -> dict[str, Any]:
    """compose.yaml as Compose itself reads it, all profiles, with variables replaced and anchors merged."""
    said = engine.run(
        "run", "--rm", "--network", "none", "--volume", f"{project}:{project}:ro", "--workdir", str(project),
        *(part for name, value in env.items() for part in ("--env", f"{name}={value}")),
        COMPOSE, "docker-compose", "--profile", "*", "config", "--format", "json",
    )  # fmt: skip
    # Compose writes `$$` where a `$` is meant, so that its output can be read again.
    found: dict[str, Any] = json.loads(said.stdout.replace("$$", "$"))
    return found


class Stack:
    """The containers of one project. `config` is what `read` gave."""

    def __init__(self, engine: Engine, config: dict[str, Any]) -> None:
        self._engine = engine
        self._config = config
        self.services: dict[str, Service] = config["services"]
        self._started: list[str] = []

    def start(self, say: Callable[[str], None]) -> None:
        """Starts the services that have no profile, each when what it depends on is as it asks. Raises Problem."""
        for name, network in self._config["networks"].items():
            internal = ["--internal"] if network.get("internal") else []
            self._engine.run("network", "create", *internal, self._network(name))
        for name, volume in self._config.get("volumes", {}).items():
            options = (volume or {}).get("driver_opts", {}).items()
            # Podman 4 takes a size for a quota of its own.
            self._engine.run(
                "volume", "create", *(f"--opt={key}={_SIZE.sub('', value)}" for key, value in options), name
            )
        wanted = {name: self._needs(name) for name, each in self.services.items() if not each.get("profiles")}
        for name in TopologicalSorter(wanted).static_order():
            self.start_one(name)
            say(name)

    def start_one(self, name: str) -> None:
        """Starts a service after waiting for what it depends on."""
        for needed, how in self._needs(name).items():
            self._wait(needed, how["condition"])
        self._engine.run("run", "--detach", "--name", name, "--hostname", name, *self._options(name))
        if name not in self._started:
            self._started.append(name)

    def running(self) -> list[str]:
        """The services that were started and are to run all the time."""
        return [name for name in self._started if self.services[name].get("restart") != "no"]

    def wait_until_healthy(self) -> None:
        """Returns when every service that has a health check passes it."""
        for name in self.running():
            self._wait(name, "service_healthy")

    def logs(self, name: str, lines: int = 40) -> str:
        """The last of what a service said."""
        done = self._engine.run("logs", "--tail", str(lines), name, check=False)
        return f"--- {name}\n{done.stdout}{done.stderr}"

    def _needs(self, name: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.services[name].get("depends_on") or {}
        return found

    def _wait(self, name: str, condition: str) -> None:
        until = time.monotonic() + READY_SECONDS
        while not self._holds(name, condition):
            if time.monotonic() > until:
                raise Problem(f"{name} did not become {condition}.\n{self.logs(name)}")
            time.sleep(WAIT_SECONDS)

    def _holds(self, name: str, condition: str) -> bool:
        state = self._engine.inspect(name)["State"]
        ended = state["Status"] in ("exited", "stopped")
        if condition == "service_completed_successfully":
            if ended and state["ExitCode"]:
                raise Problem(f"{name} failed.\n{self.logs(name)}")
            return bool(ended)
        if ended:
            raise Problem(f"{name} has ended.\n{self.logs(name)}")
        if condition == "service_started" or not self._is_checked(name):
            return True
        return self._engine.run("healthcheck", "run", name, check=False).returncode == 0

    def _is_checked(self, name: str) -> bool:
        check = self.services[name].get("healthcheck")
        if check is not None:
            return not check.get("disable")
        return "Healthcheck" in self._engine.inspect(self.services[name]["image"])

    def _network(self, name: str) -> str:
        return str(self._config["networks"][name].get("name", name))

    def _options(self, name: str) -> list[str]:
        """What `podman run` is told. An entry of compose.yaml that nothing here knows is a Problem."""
        service = self.services[name]
        image, command, options = service["image"], list(service.get("command") or []), list[str]()
        for key, value in service.items():
            if value is None or key in LEFT_OUT | {"image", "command", "depends_on"}:
                continue
            if key == "entrypoint":
                options.append(f"--entrypoint={json.dumps(value)}")
            elif key in _OPTIONS:
                options += _OPTIONS[key](value)
            elif key == "networks":
                options.append(f"--network={','.join(self._network(each) for each in value)}")
            elif key == "secrets":
                options += self._secrets(value)
            elif key != "ulimits":
                raise Problem(f"{name} has {key}, which tests/image/composed.py does not know.")
        return [*self._limits(service.get("ulimits") or {}), *options, image, *command]

    def _secrets(self, wanted: list[dict[str, str]]) -> Iterator[str]:
        for secret in wanted:
            source = self._config["secrets"][secret["source"]]["file"]
            target = secret.get("target") or secret["source"]
            target = target if target.startswith("/") else f"/run/secrets/{target}"
            yield f"--volume={source}:{target}:ro"

    def _limits(self, wanted: dict[str, dict[str, int]]) -> Iterator[str]:
        # This machine may allow less than is wanted, or than Podman's own default.
        for name, most in self._engine.limits.items():
            limit = min(most, wanted.get(name, {"hard": most})["hard"])
            yield f"--ulimit={name}={limit}:{limit}"


def _health(check: dict[str, Any]) -> list[str]:
    # Without a service manager, Podman runs no checks by itself: `_holds` runs them.
    if check.get("disable"):
        return ["--no-healthcheck"]
    kind, *words = check["test"]
    command = json.dumps(words) if kind == "CMD" else words[0]
    return [f"--health-cmd={command}", "--health-interval=disable"]


def _tmpfs(mount: str) -> str:
    # Unlike Docker, Podman would copy what the image has there, with its owner and mode.
    path, _, options = mount.partition(":")
    return f"--tmpfs={path}:{','.join(filter(None, [options, 'notmpcopyup']))}"


def _volumes(mounts: list[dict[str, Any]]) -> list[str]:
    return [
        f"--volume={mount['source']}:{mount['target']}{':ro' if mount.get('read_only') else ''}"
        for mount in mounts
    ]


def _ports(ports: list[dict[str, Any]]) -> list[str]:
    # On this machine only, whatever the file says.
    return [f"--publish=127.0.0.1:{port['published']}:{port['target']}" for port in ports]


_OPTIONS: dict[str, Callable[[Any], list[str]]] = {
    "cap_drop": lambda value: [f"--cap-drop={each}" for each in value],
    "environment": lambda value: [f"--env={key}={each}" for key, each in value.items()],
    "healthcheck": _health,
    "ports": _ports,
    "read_only": lambda value: ["--read-only"] if value else [],
    # Podman's own default for a read-only root would add writable folders that compose.yaml does not name.
    "tmpfs": lambda value: ["--read-only-tmpfs=false", *map(_tmpfs, value)],
    "security_opt": lambda value: [f"--security-opt={each.partition(':')[0]}" for each in value],
    "shm_size": lambda value: [f"--shm-size={value}"],
    "stop_signal": lambda value: [f"--stop-signal={value}"],
    "user": lambda value: [f"--user={value}"],
    "volumes": _volumes,
}
