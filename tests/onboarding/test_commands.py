"""The commands of the manual path, and those to look after an installed agent."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from jatevo_agent import cli

from onboarding import install
from onboarding.agent_config import Platform
from onboarding.commands import Download, by_hand, chores_of, in_a_container

WHEEL = "https://console.example/install/agent/jatevo_agent-2.0.0-py3-none-any.whl"
DOWNLOAD = Download("https://console.example", WHEEL, "ab" * 32, "3.9")


@pytest.mark.parametrize("platform", list(Platform))
def test_pip_installs_the_wheel_of_this_console_with_its_hash(platform: Platform) -> None:
    commands = by_hand(platform, DOWNLOAD).install
    assert f"'jatevo-agent @ {WHEEL}#sha256={'ab' * 32}'" in commands
    assert "\n~/.jatevo/venv/bin/pip install" in commands  # never a bare pip
    assert "chmod 600 ~/.jatevo/agent.yaml" in commands
    assert "3.9 or later" in commands


def test_the_service_by_hand_is_the_one_that_the_script_installs() -> None:
    mac = by_hand(Platform.MAC, DOWNLOAD).keep_running
    assert "https://console.example/install/services/launchd-agent.plist | sed" in mac
    linux = by_hand(Platform.LINUX, DOWNLOAD).keep_running
    assert "https://console.example/install/services/systemd-user.service | sed" in linux
    assert "enable-linger" in linux


@pytest.mark.parametrize("platform", list(Platform))
def test_everything_that_can_be_done_with_an_agent_is_there_for_each_way_to_install_it(
    platform: Platform,
) -> None:
    for way in chores_of(platform):
        names = [chore.name for chore in way.chores]
        wanted = ["Status", "Find out what is wrong", "Logs", "Start", "Stop", "Update", "Uninstall"]
        assert [name for name in names if name != "Restart"] == wanted


@pytest.mark.parametrize("platform", list(Platform))
def test_the_shell_can_read_every_command(platform: Platform) -> None:
    hand = by_hand(platform, DOWNLOAD)
    chores = [chore.command for way in chores_of(platform) for chore in way.chores]
    for text in (hand.install, hand.run, hand.keep_running, in_a_container(DOWNLOAD), *chores):
        shell = shutil.which("sh")
        assert shell
        read = subprocess.run([shell, "-n", "-c", text], capture_output=True, text=True, check=False)
        assert (read.returncode, read.stderr) == (0, ""), text


def test_the_container_keeps_the_nodes_state_outside() -> None:
    words = shlex.split(in_a_container(DOWNLOAD))
    assert "~/.jatevo:/data/.jatevo" in words
    assert f"AGENT=jatevo-agent @ {WHEEL}#sha256={'ab' * 32}" in words


def agent_calls() -> set[str]:
    """How the pages and the script call the agent, without the folder."""
    texts = [chore.command for platform in Platform for way in chores_of(platform) for chore in way.chores]
    texts += [by_hand(platform, DOWNLOAD).run for platform in Platform]
    calls = {
        text.split("jatevo-agent ")[-1] for text in texts if "jatevo-agent " in text and "--config" in text
    }
    return calls | {"status --config agent.yaml --follow 120", "run --config agent.yaml", "version"}


@pytest.mark.parametrize("call", sorted(agent_calls()))
def test_the_agent_understands_what_it_is_told(call: str) -> None:
    assert cli._parser().parse_args(shlex.split(call))


def test_the_script_and_the_services_call_the_agent_in_no_other_way() -> None:
    script = Path(install.__file__).with_name("install.sh").read_text()
    assert re.findall(r'"\$AGENT" (\w+)', script) == ["version", "run", "status"]
    assert '"$AGENT" status --config "$CONFIG" --follow 120' in script
