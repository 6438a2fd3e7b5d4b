"""The downloads of a new operator: the agent's archive and the service files."""

import configparser
import hashlib
import plistlib
import tomllib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from onboarding.agent_archive import SOURCE, agent_archive
from onboarding.agent_config import Platform
from onboarding.service_templates import instructions

URL = "https://console.example.org/run-a-node/agent.zip#sha256=abc"


def test_the_archive_has_one_top_folder_with_a_project_in_it() -> None:
    with zipfile.ZipFile(BytesIO(agent_archive().content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {"jatevo-agent"}
        project = tomllib.loads(archive.read("jatevo-agent/pyproject.toml").decode())
    assert project["project"]["name"] == "jatevo-agent"
    assert project["project"]["readme"] == "README.md"
    assert "jatevo-agent/README.md" in names
    assert "jatevo-agent/jatevo_agent/cli.py" in names


def test_the_archive_holds_the_wire_format_itself_and_not_the_link_to_it() -> None:
    wire = Path(__file__).resolve().parents[2] / "jatevo" / "wire"
    with zipfile.ZipFile(BytesIO(agent_archive().content)) as archive:
        for path in wire.glob("*.py"):
            entry = archive.getinfo(f"jatevo-agent/jatevo_agent/wire/{path.name}")
            assert archive.read(entry) == path.read_bytes()
            assert entry.external_attr >> 28 == 0 or entry.external_attr >> 28 == 0o10  # a regular file


def test_the_archive_holds_every_module_and_no_leftovers() -> None:
    with zipfile.ZipFile(BytesIO(agent_archive().content)) as archive:
        held = {name.removeprefix("jatevo-agent/") for name in archive.namelist()}
    modules = {path.relative_to(SOURCE).as_posix() for path in (SOURCE / "jatevo_agent").rglob("*.py")}
    assert modules <= held
    assert not [name for name in held if "__pycache__" in name or "tests/" in name]


def test_the_same_files_give_the_same_bytes() -> None:
    archive = agent_archive()
    assert hashlib.sha256(archive.content).hexdigest() == archive.sha256
    assert agent_archive() == archive


def test_the_launchd_file_is_a_property_list_that_starts_the_agent_in_its_folder() -> None:
    service = instructions(Platform.MAC, agent_url=URL).service
    assert service.name.endswith(".plist")
    properties = plistlib.loads(service.text.encode())
    assert properties["Label"] == service.name.removesuffix(".plist")
    assert properties["KeepAlive"] is True
    shell, flag, script = properties["ProgramArguments"]
    assert (shell, flag) == ("/bin/sh", "-c")
    assert "jatevo-agent run --config agent.yaml >>agent.log 2>&1" in script


@pytest.mark.parametrize("platform", [Platform.LINUX, Platform.NVIDIA])
def test_the_systemd_unit_has_its_sections_and_restarts(platform: Platform) -> None:
    service = instructions(platform, agent_url=URL).service
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(service.text)
    assert unit["Service"]["ExecStart"].endswith("jatevo-agent run --config %h/.jatevo/agent.yaml")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Install"]["WantedBy"] == "default.target"
    assert service.name in service.commands


@pytest.mark.parametrize("platform", list(Platform))
def test_the_commands_install_from_this_console_with_the_archives_hash(platform: Platform) -> None:
    commands = instructions(platform, agent_url=URL).install
    assert f"'jatevo-agent @ {URL}'" in commands
    assert "chmod 600 ~/.jatevo/agent.yaml" in commands
