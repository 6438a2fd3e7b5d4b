"""The service files: what systemd and launchd read in them."""

import configparser
import plistlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from onboarding.install.services import SERVICES, filled_in

FOLDER = "/Users/ada lovelace/.jatevo"
# systemd's own score of what a service could do: 10 is everything. Above 5 it says "MEDIUM".
MOST_EXPOSED = 3.0


def unit_of(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(filled_in(name, folder=FOLDER, user="jatevo"))
    return unit


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with a space in its name, in which the agent is installed."""
    folder = tmp_path / "a folder"
    agent = folder / "venv" / "bin" / "jatevo-agent"
    agent.parent.mkdir(parents=True)
    agent.write_text("#!/bin/sh\n")
    agent.chmod(0o755)
    return folder


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """A folder with a short path. The distribution's own units have sockets in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("manager", ["user", "system"])
def test_systemd_finds_nothing_wrong(
    manager: str, installed: Path, tmp_path: Path, runtime_dir: Path
) -> None:
    unit = tmp_path / "jatevo-agent.service"
    unit.write_text(filled_in(f"systemd-{manager}.service", folder=str(installed), user="daemon"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", f"--{manager}", "--man=no", unit],
        env={"XDG_RUNTIME_DIR": str(runtime_dir), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_a_wrong_unit_would_be_found(installed: Path, tmp_path: Path) -> None:
    unit = tmp_path / "jatevo-agent.service"
    wrong = filled_in("systemd-system.service", folder=str(installed), user="daemon")
    unit.write_text(wrong.replace("ProtectHome=yes", "ProtectHome=maybe"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert "protect home" in verified.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_system_service_is_hardened(installed: Path, tmp_path: Path) -> None:
    unit = tmp_path / "jatevo-agent.service"
    unit.write_text(filled_in("systemd-system.service", folder=str(installed), user="daemon"))
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSED * 10:.0f}", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd is too old to judge a file")
    assert judged.returncode == 0, judged.stdout[-300:]


@pytest.mark.parametrize("manager", ["user", "system"])
def test_systemd_restarts_the_agent_unless_a_person_must_act(manager: str) -> None:
    service = unit_of(f"systemd-{manager}.service")["Service"]
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "2"
    assert service["NoNewPrivileges"] == "yes"


@pytest.mark.parametrize("kind", ["agent", "daemon"])
def test_launchd_starts_the_agent_by_absolute_paths(kind: str) -> None:
    job = plistlib.loads(
        filled_in(f"launchd-{kind}.plist", folder=FOLDER, user="ada", home="/Users/ada").encode()
    )
    assert job["Label"] == "net.jatevo.agent"
    assert job["ProgramArguments"] == [
        f"{FOLDER}/venv/bin/jatevo-agent", "run", "--config", f"{FOLDER}/agent.yaml",
    ]  # fmt: skip
    assert job["KeepAlive"] == {"SuccessfulExit": False}
    assert job["Umask"] == 0o077
    assert job["EnvironmentVariables"]["JATEVO_SERVICE"] == "launchd"
    assert "ProcessType" not in job  # Background would slow the agent down
    assert job.get("UserName") == ("ada" if kind == "daemon" else None)


@pytest.mark.parametrize("name", list(SERVICES))
def test_the_console_serves_them_to_the_script(client: Client, name: str) -> None:
    answer = client.get(f"/install/services/{name}")
    assert (answer.status_code, answer.content.decode()) == (200, SERVICES[name].read_text())
    assert "@" not in filled_in(name, folder=FOLDER, user="ada", home="/Users/ada").replace(
        "@system-service", ""
    )


def test_nothing_else_is_served(client: Client) -> None:
    for name in ("other", "..%2Finstall.sh", "install.sh"):
        assert client.get(f"/install/services/{name}").status_code == 404


def test_the_dockerfile_installs_what_it_is_given_and_runs_without_root(client: Client) -> None:
    text = client.get("/install/agent/Dockerfile").content.decode()
    assert 'RUN pip install --no-cache-dir --no-compile "$AGENT"' in text
    assert "JATEVO_SERVICE=container" in text
    assert "\nUSER 65534\n" in text
