"""`jatevo-agent update`: in a virtual environment of its own, from a console that may lie."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import jatevo_agent
import pytest
from fake_console import ConsoleForAgents
from jatevo_agent.newest import is_older

NEW_VERSION = "99.0.1"
MAIN = """\
import sys
print("{version}")
"""


def wheel(version: str, main: str = MAIN) -> tuple[str, bytes]:
    """A package `jatevo-agent` of that version, whose only command is `version`."""
    name = f"jatevo_agent-{version}-py3-none-any.whl"
    info = f"jatevo_agent-{version}.dist-info"
    files = {
        "jatevo_agent/__init__.py": f'__version__ = "{version}"\n',
        "jatevo_agent/__main__.py": main.format(version=version),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: jatevo-agent\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in files.items()
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return name, buffer.getvalue()


@pytest.fixture
def offered(console: ConsoleForAgents) -> bytes:
    """The console offers a newer agent."""
    return offer(console, *wheel(NEW_VERSION))


def offer(console: ConsoleForAgents, name: str, content: bytes) -> bytes:
    console.files[f"/install/agent/{name}"] = content
    console.newest_agent = {
        "version": NEW_VERSION,
        "name": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "requires_python": ">=3.9",
    }
    return content


@pytest.fixture
def config(console: ConsoleForAgents, tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(f"console: {console.url}\nnode_id: gpu-7\nregion: eu-west\nruntime: vllm\n")
    return path


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A virtual environment with a copy of this agent. What it needs besides comes from ours."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "ours.pth").write_text("\n".join(ours) + "\n")
    source = Path(jatevo_agent.__file__).parent
    info = packages / "jatevo_agent-2.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jatevo-agent\nVersion: 2.0.0\n")
    (info / "INSTALLER").write_text("pip\n")
    copied = [
        *source.rglob("*.py"),
        *(source / "wire").glob("*.py"),
    ]  # rglob follows no links in some versions
    record = []
    for path in dict.fromkeys(copied):
        target = packages / "jatevo_agent" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        record.append(f"{target.relative_to(packages)},,\n")
    (info / "RECORD").write_text("".join(record))
    return folder


def update(venv: Path, config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(venv, "update", "--config", str(config), *options)


def run(venv: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIP_NO_INDEX": "1", "HOME": str(venv.parent)}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [str(venv / "bin" / "python"), "-m", "jatevo_agent", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment,
        cwd=venv,
    )


def test_the_newest_agent_is_installed_and_named(venv: Path, config: Path, offered: bytes) -> None:
    finished = update(venv, config)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(
        "Installed jatevo-agent 99.0.1; it was 2.0.0.\nRestart the agent to use it: "
    )
    assert run(venv, "version").stdout.strip() == NEW_VERSION
    assert (venv / ".installed").read_text().strip() == hashlib.sha256(offered).hexdigest()


def test_a_file_with_another_sha256_is_not_installed(
    venv: Path, config: Path, console: ConsoleForAgents, offered: bytes
) -> None:
    name, content = wheel(NEW_VERSION, 'print("{version}")  # something else\n')
    console.files[f"/install/agent/{name}"] = content
    finished = update(venv, config)
    assert finished.returncode == 3
    assert "Nothing was changed" in finished.stderr
    assert run(venv, "version").stdout.strip() == "2.0.0"


def test_a_wheel_that_pip_refuses_leaves_the_old_agent(
    venv: Path, config: Path, console: ConsoleForAgents
) -> None:
    offer(console, f"jatevo_agent-{NEW_VERSION}-py3-none-any.whl", b"not a wheel")
    finished = update(venv, config)
    assert finished.returncode == 1
    assert "pip could not install" in finished.stderr
    assert run(venv, "version").stdout.strip() == "2.0.0"


def test_check_changes_nothing(venv: Path, config: Path, offered: bytes) -> None:
    finished = update(venv, config, "--check")
    assert (finished.returncode, finished.stdout) == (1, "jatevo-agent 99.0.1 is out; this is 2.0.0.\n")
    assert run(venv, "version").stdout.strip() == "2.0.0"


def test_nothing_newer_is_said(venv: Path, config: Path, console: ConsoleForAgents) -> None:
    offer(console, *wheel(NEW_VERSION))
    console.newest_agent["version"] = "2.0"
    finished = update(venv, config)
    assert (finished.returncode, "is the newest that" in finished.stdout) == (0, True)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"version": "99; rm -rf /"},
        {"name": "../../etc/passwd"},
        {"name": "https://elsewhere.example/jatevo_agent-99.0.1-py3-none-any.whl"},
        {"sha256": "abc"},
    ],
)
def test_an_offer_that_is_not_understood(
    config: Path, console: ConsoleForAgents, offered: bytes, said: dict[str, str]
) -> None:
    console.newest_agent = {**console.newest_agent, **said} if said else {}
    finished = run_here("update", "--config", str(config))
    assert finished.returncode == 3
    assert finished.stdout == ""


def test_an_agent_that_runs_from_its_source_is_left_alone(config: Path, offered: bytes) -> None:
    finished = run_here("update", "--config", str(config))
    assert finished.returncode == 2
    assert "runs from its source" in finished.stderr


def run_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jatevo_agent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [
        ("2.0.0", "2.0.1", True),
        ("2.9", "2.10", True),
        ("2.0.0", "2.0", False),
        ("2.0", "2.0.0", False),
        ("2.1.0", "2.0.9", False),
        ("2.0.0+local", "2.0.1", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, than: str, expected: bool) -> None:
    assert is_older(version, than) is expected
