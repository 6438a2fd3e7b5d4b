"""The install script, run on made-up machines in the shells that people have."""

import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onboarding.install.script import refusing_script
from tests.onboarding.install.fake_machine import (
    CONSOLE,
    NODE_ID,
    SHA256,
    SHELLS,
    WHEEL,
    FakeMachine,
    a_script,
)

Machines = Callable[..., FakeMachine]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machines]:
    made: list[FakeMachine] = []

    def build(**kind: Any) -> FakeMachine:
        made.append(FakeMachine(tmp_path / f"machine-{len(made)}", **kind))
        return made[-1]

    yield build
    for each in made:
        each.stop_agent()


def a_mac(machine: Machines, **kind: Any) -> FakeMachine:
    return machine(system="Darwin", **kind)


@pytest.mark.parametrize("script", [a_script().text, refusing_script("No.")], ids=["install", "refusal"])
def test_shellcheck_finds_nothing(tmp_path: Path, script: str) -> None:
    path = tmp_path / "install.sh"
    path.write_text(script)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run([shellcheck, "-s", "sh", path], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert found.returncode == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_an_empty_machine_gets_a_running_agent(machine: Machines, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    fresh = machine()
    ran = fresh.run(shell=shell)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert fresh.calls("jatevo-agent status") == [
        f"jatevo-agent status --config {fresh.folder}/agent.yaml --follow 120"
    ]
    assert f"jatevo-agent run --config {fresh.folder}/agent.yaml" in fresh.calls()
    assert "in the background" in ran.stdout
    assert (fresh.folder / "agent.yaml").read_text().startswith(f'console: "{CONSOLE}"')


def test_nobody_else_can_read_what_it_wrote(machine: Machines) -> None:
    fresh = machine()
    fresh.run()
    for path in (fresh.folder, fresh.folder / "agent.yaml", fresh.folder / "agent.log"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_second_run_installs_nothing_again(machine: Machines) -> None:
    fresh = machine()
    fresh.run()
    before = len(fresh.calls("python"))
    ran = fresh.run()
    assert ran.returncode == 0
    assert "installed already" in ran.stdout
    assert not [
        call for call in fresh.calls("python")[before:] if "install" in call or "venv --clear" in call
    ]


def test_a_newer_wheel_replaces_the_agent(machine: Machines) -> None:
    fresh = machine()
    fresh.run()
    (fresh.folder / "venv" / ".installed").write_text("0" * 64)
    before = len(fresh.calls())
    assert fresh.run().returncode == 0
    later = fresh.calls()[before:]
    assert [call for call in later if "pip" in call and " uninstall " in call]
    assert not [call for call in later if "venv --clear" in call]


def test_a_run_that_broke_off_in_pip_is_continued(machine: Machines) -> None:
    fresh = machine()
    ran = fresh.run(PIP_BREAKS="1")
    assert ran.returncode == 1
    assert "pip could not install the agent" in ran.stderr
    assert fresh.run().returncode == 0
    assert (fresh.folder / "venv" / ".installed").read_text().strip() == SHA256


def test_a_download_that_breaks_off_runs_nothing(machine: Machines) -> None:
    fresh = machine()
    whole = a_script()
    for share in (0.3, 0.6, 0.99):
        part = type(whole)(whole.text[: int(len(whole.text) * share)])
        fresh.run(script=part)
    assert fresh.calls() == []
    assert not fresh.folder.exists()


def test_a_wheel_with_another_hash_is_not_installed(machine: Machines) -> None:
    fresh = machine()
    ran = fresh.run(WHEEL_IS="b" * 64)
    assert ran.returncode == 1
    assert f"the SHA-256 of {WHEEL} is {'b' * 64}" in ran.stderr
    assert not [call for call in fresh.calls() if " install " in call]


def test_a_registered_machine_keeps_its_file(machine: Machines) -> None:
    fresh = machine()
    fresh.run()
    fresh.stop_agent()
    mine = f'console: "{CONSOLE}"\nnode_id: {NODE_ID}\nconcurrency: 9\n'
    (fresh.folder / "agent.yaml").write_text(mine)
    (fresh.folder / NODE_ID).mkdir()
    (fresh.folder / NODE_ID / "state.json").write_text("{}")
    ran = fresh.run()
    assert "stays as it is" in ran.stdout
    assert (fresh.folder / "agent.yaml").read_text() == mine


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (f'console: "{CONSOLE}"\nnode_id: "other-7"\n', "belongs to the node other-7, not to macbook-001"),
        (
            f"console: {CONSOLE}\nnode_id: other-7  # mine\n",
            "belongs to the node other-7, not to macbook-001",
        ),
        (f'console: "https://old.example"\nnode_id: "{NODE_ID}"\n', "another console, https://old.example"),
    ],
)
def test_another_nodes_folder_is_left_alone(machine: Machines, there: str, reason: str) -> None:
    taken = machine()
    taken.folder.mkdir()
    (taken.folder / "agent.yaml").write_text(there)
    ran = taken.run()
    assert ran.returncode == 1
    assert reason in ran.stderr
    assert (taken.folder / "agent.yaml").read_text() == there
    assert not taken.calls("python")
    assert not (taken.folder / "venv").exists()


def test_a_service_of_another_folder_is_left_alone(machine: Machines) -> None:
    fresh = machine(systemd=True)
    assert fresh.run().returncode == 0
    unit = fresh.home / ".config/systemd/user/jatevo-agent.service"
    before = unit.read_text()
    ran = fresh.run(JATEVO_DIR=str(fresh.home / "second"))
    assert ran.returncode == 1
    assert "runs another agent" in ran.stderr
    assert unit.read_text() == before
    assert fresh.run("--no-service", JATEVO_DIR=str(fresh.home / "second")).returncode == 0
    assert f'state_dir: "{fresh.home}/second/state"' in (fresh.home / "second/agent.yaml").read_text()


@pytest.mark.parametrize("folder", ["relative", '/srv/a"b', "/srv/a&b", "/srv/100%", "/srv/a|b"])
def test_a_folder_that_no_service_file_could_name_is_refused(machine: Machines, folder: str) -> None:
    fresh = machine()
    ran = fresh.run(JATEVO_DIR=folder)
    assert ran.returncode == 1
    assert "JATEVO_DIR" in ran.stderr
    assert not fresh.calls("curl")


def test_the_stub_of_a_mac_is_never_called(machine: Machines) -> None:
    mac = a_mac(machine, pythons=())
    stub = mac.place("/usr/bin/python3")
    mac.program(stub, '#!/bin/sh\necho stub >>"$CALLS"\n')
    ran = mac.run(PATH=f"{mac.bin}:{stub.parent}")
    assert ran.returncode == 1
    assert "brew install python" in ran.stderr
    assert "stub" not in mac.calls()


def test_a_link_to_the_stub_is_not_called_either(machine: Machines) -> None:
    mac = a_mac(machine, pythons=())
    stub = mac.place("/usr/bin/python3")
    mac.program(stub, '#!/bin/sh\necho stub >>"$CALLS"\n')
    (mac.bin / "python3").symlink_to(stub)
    assert mac.run().returncode == 1
    assert "stub" not in mac.calls()


def test_with_the_developer_tools_it_is_no_stub(machine: Machines) -> None:
    mac = a_mac(machine, pythons=())
    tools = mac.place("/usr/bin/python3")
    shutil.copy(machine().bin / "python3", mac.bin / "python")
    tools.parent.mkdir(parents=True)
    (mac.bin / "python").rename(tools)
    assert mac.run(PATH=f"{mac.bin}:{tools.parent}", NO_TOOLS="0").returncode == 0


def test_a_newer_python_beside_the_stub_is_found(machine: Machines) -> None:
    mac = a_mac(machine, pythons=("python3.12",))
    stub = mac.place("/usr/bin/python3")
    mac.program(stub, '#!/bin/sh\necho stub >>"$CALLS"\n')
    assert mac.run(PATH=f"{stub.parent}:{mac.bin}").returncode == 0
    assert "stub" not in mac.calls()


@pytest.mark.parametrize(
    ("manager", "advice"),
    [("apt-get", "python3-venv"), ("dnf", "dnf install python3"), ("apk", "apk add"), ("", "www.python.org")],
)
def test_without_a_python_it_says_what_to_install(machine: Machines, manager: str, advice: str) -> None:
    bare = machine()
    if manager:
        bare.program(bare.bin / manager, "#!/bin/sh\n")
    ran = bare.run(PYTHON_IS_OLD="1")
    assert ran.returncode == 1
    assert "there is no Python 3.9 or later" in ran.stderr
    assert advice in ran.stderr
    assert not bare.folder.exists()


def test_a_mac_gets_a_user_agent(machine: Machines) -> None:
    mac = a_mac(machine)
    ran = mac.run()
    assert ran.returncode == 0, ran.stderr
    plist = mac.home / "Library/LaunchAgents/net.jatevo.agent.plist"
    assert f"<string>{mac.folder}/venv/bin/jatevo-agent</string>" in plist.read_text()
    assert mac.calls("launchctl")[-1] == f"launchctl bootstrap gui/501 {plist}"
    assert "Closing the lid still puts it to sleep" in ran.stdout
    assert not mac.calls("sudo")


def test_a_reinstall_on_a_mac_waits_until_the_old_agent_has_ended(machine: Machines) -> None:
    mac = a_mac(machine)
    mac.run()
    before = len(mac.calls("launchctl"))
    mac.run()
    verbs = [call.split()[1] for call in mac.calls("launchctl")[before:]]
    assert verbs == ["print", "enable", "bootout", "print", "bootstrap"]


@pytest.mark.parametrize("how", ["--daemon", "over SSH"])
def test_a_mac_without_a_screen_gets_a_daemon(machine: Machines, how: str) -> None:
    mac = a_mac(machine)
    ran = mac.run("--daemon") if how == "--daemon" else mac.run(NO_SCREEN="113")
    assert ran.returncode == 0, ran.stderr
    plist = mac.place("/Library/LaunchDaemons/net.jatevo.agent.plist")
    assert "<key>UserName</key>\n  <string>ada</string>" in plist.read_text()
    assert f"sudo launchctl bootstrap system {plist}" in mac.calls("sudo")
    assert f"sudo cp {mac.folder}/service.new {plist}" in mac.calls("sudo")


def test_sudo_on_a_mac_is_refused(machine: Machines) -> None:
    ran = a_mac(machine, uid=0).run()
    assert ran.returncode == 1
    assert "without sudo" in ran.stderr


def test_linux_gets_a_user_service_that_survives_logging_out(machine: Machines) -> None:
    linux = machine(systemd=True)
    ran = linux.run()
    assert ran.returncode == 0, ran.stderr
    unit = (linux.home / ".config/systemd/user/jatevo-agent.service").read_text()
    assert f'ExecStart="{linux.folder}/venv/bin/jatevo-agent" run' in unit
    assert linux.calls("systemctl") == [
        "systemctl --user show-environment",
        "systemctl --user daemon-reload",
        "systemctl --user --quiet enable jatevo-agent",
        "systemctl --user restart jatevo-agent",
    ]
    assert linux.calls("loginctl") == ["loginctl enable-linger"]
    assert not (linux.folder / "agent.pid").exists()


def test_without_a_user_session_of_systemd_it_runs_in_the_background(machine: Machines) -> None:
    linux = machine(systemd=True)
    ran = linux.run(NO_USER_SYSTEMD="1")
    assert "in the background" in ran.stdout
    assert (linux.folder / "agent.pid").exists()


def test_root_gets_a_service_of_the_machine_under_a_user_of_its_own(machine: Machines) -> None:
    linux = machine(systemd=True, uid=0)
    ran = linux.run()
    assert ran.returncode == 0, ran.stderr
    folder = linux.place("/var/lib/jatevo")
    unit = linux.place("/etc/systemd/system/jatevo-agent.service").read_text()
    assert "User=jatevo\n" in unit
    assert f'ReadWritePaths="{folder}/state"' in unit
    assert linux.calls("useradd")
    assert f"chown -R jatevo:jatevo {folder}/state {folder}/agent.yaml" in linux.calls("chown")
    assert f'state_dir: "{folder}/state"' in (folder / "agent.yaml").read_text()
    assert linux.calls("runuser")[-1].startswith(
        f"runuser -u jatevo -- {folder}/venv/bin/jatevo-agent status"
    )
    assert not linux.folder.exists()


def test_a_second_run_ends_the_agent_in_the_background_before_it_starts_another(machine: Machines) -> None:
    fresh = machine()
    fresh.run()
    first = int((fresh.folder / "agent.pid").read_text())
    # as the agent's own command line would say
    fresh.program(fresh.bin / "ps", "#!/bin/sh\necho jatevo-agent run\n")
    fresh.run()
    second = int((fresh.folder / "agent.pid").read_text())
    assert first != second


def test_an_unknown_option_is_refused(machine: Machines) -> None:
    fresh = machine()
    ran = fresh.run("--nonsense")
    assert (ran.returncode, fresh.calls()) == (1, [])
    assert "unknown option --nonsense" in ran.stderr


def test_values_cannot_break_out_of_their_quotes() -> None:
    text = a_script(node_id="x'; rm -rf /; '").text
    assert "NODE_ID='x'\"'\"'; rm -rf /; '\"'\"''" in text
