"""Images of Debian's packages, under the names that the Dockerfile and compose.yaml use."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.image.engine import Engine, Problem

STANDINS = Path(__file__).parent / "standins"
MIRROR = "http://deb.debian.org/debian"
# bookworm has the Python of the Dockerfile and a ClickHouse server, forky what compose.yaml names of the other stores.
SUITES = {"bookworm": "bookworm", "forky": "sid"}
# A stand-in for each service's image, and the one that reads compose.yaml.
OF_SERVICE = {
    "proxy": "nginx",
    "postgres": "postgres",
    "valkey": "valkey",
    "clickhouse": "clickhouse",
    "prometheus": "prometheus",
}
PYTHON = "docker.io/library/python:3.11-slim-bookworm"
COMPOSE = "localhost/compose"


def add_bases(engine: Engine) -> None:
    """`localhost/debian:…` of each suite."""
    for suite, script in SUITES.items():
        if engine.run("image", "exists", f"localhost/debian:{suite}", check=False).returncode == 0:
            continue
        archive = engine.home / f"{suite}.tar"
        print(f"Fetching Debian {suite}", flush=True)
        _bootstrap(suite, script, archive)
        engine.run("import", "--change", 'CMD=["sh"]', str(archive), f"localhost/debian:{suite}")
        archive.unlink()


def add_standin(engine: Engine, name: str, tag: str) -> None:
    """The image of standins/NAME.Dockerfile."""
    engine.build(STANDINS, "--file", str(STANDINS / f"{name}.Dockerfile"), "--tag", tag)


def mounts_for_builds(home: Path) -> list[str]:
    """What a build needs of this machine: the authorities it trusts, and pip's settings, where there are any."""
    mounts = []
    if Path("/etc/ssl/certs/ca-certificates.crt").exists():
        mounts.append("/etc/ssl/certs:/etc/ssl/certs:ro")
    settings = [Path("/etc/pip.conf").read_text()] if Path("/etc/pip.conf").exists() else ["[global]\n"]
    for name in ("index_url", "extra_index_url", "trusted_host"):
        if value := os.environ.get(f"PIP_{name.upper()}"):
            settings.append(f"\n[install]\n{name.replace('_', '-')} = {value}\n")
    pip = home / "pip.conf"
    pip.write_text("".join(settings))
    return [*mounts, f"{pip}:/etc/pip.conf:ro"]


def versions(engine: Engine, tags: dict[str, str]) -> dict[str, Any]:
    """What runs in the place of each image."""
    asked = {
        "postgres": ("postgres", "--version"),
        "valkey": ("valkey-server", "--version"),
        "clickhouse": ("clickhouse-client", "--version"),
        "proxy": ("nginx", "-v"),
        "prometheus": ("prometheus", "--version"),
    }
    found = {}
    for service, command in asked.items():
        said = engine.run(
            "run", "--rm", "--network", "none", "--entrypoint", command[0], tags[service], *command[1:]
        )
        found[service] = next(
            line
            for line in (said.stdout + said.stderr).splitlines()
            if "version" in line or "v=" in line or "SQL" in line
        )
    return found


def _bootstrap(suite: str, script: str, archive: Path) -> None:
    tree = archive.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(tree), MIRROR]
    done = subprocess.run(
        [*command, f"/usr/share/debootstrap/scripts/{script}"], capture_output=True, text=True
    )
    if done.returncode:
        raise Problem(f"debootstrap {suite} failed:\n{done.stdout[-1500:]}{done.stderr[-500:]}")
    # A mirror may be behind: its list counts although it has expired.
    (tree / "etc/apt/apt.conf.d/99image-test").write_text('Acquire::Check-Valid-Until "false";\n')
    for unneeded in (
        "var/cache/apt",
        "var/lib/apt/lists",
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
    ):
        shutil.rmtree(tree / unneeded, ignore_errors=True)
    (tree / "var/cache/apt/archives/partial").mkdir(parents=True)
    subprocess.run(["tar", "-C", str(tree), "-cf", str(archive), "."], check=True)
    shutil.rmtree(tree)
