"""What to type on a machine to install and to look after the agent. Pure: values in, text out."""

import shlex
from dataclasses import dataclass

from onboarding.agent_config import Platform

FOLDER = "~/.jatevo"
MACHINE_FOLDER = "/var/lib/jatevo"  # of a service of the whole machine
_PLIST = "~/Library/LaunchAgents/net.jatevo.agent.plist"
_UNIT = "~/.config/systemd/user/jatevo-agent.service"


@dataclass(frozen=True)
class Download:
    """Where the console serves the agent: `base` is the console's URL."""

    base: str
    wheel_url: str
    wheel_sha256: str
    least_python: str

    @property
    def requirement(self) -> str:
        """The wheel as pip takes it, with its hash."""
        return shlex.quote(f"jatevo-agent @ {self.wheel_url}#sha256={self.wheel_sha256}")


@dataclass(frozen=True)
class ByHand:
    """The commands of the manual path: install, try in the foreground, keep it running."""

    install: str
    run: str
    keep_running: str


@dataclass(frozen=True)
class Chore:
    """Something to do with an installed agent, and the command for it."""

    name: str
    command: str


@dataclass(frozen=True)
class Chores:
    """The chores of one way in which the agent is installed."""

    title: str
    chores: tuple[Chore, ...]


def by_hand(platform: Platform, download: Download) -> ByHand:
    """The manual path, for an agent.yaml that was downloaded."""
    install_python = (
        "brew install python" if platform is Platform.MAC else "sudo apt-get install python3 python3-venv"
    )
    install = [
        *(["nvidia-smi   # must list your cards"] if platform is Platform.NVIDIA else []),
        f"python3 --version   # {download.least_python} or later; otherwise: {install_python}",
        f"mkdir -p {FOLDER} && chmod 700 {FOLDER}",
        f"python3 -m venv {FOLDER}/venv",
        f"{FOLDER}/venv/bin/pip install {download.requirement}",
        f"mv ~/Downloads/agent.yaml {FOLDER}/ && chmod 600 {FOLDER}/agent.yaml",
    ]
    services = f"{download.base}/install/services"
    fill_in = f'sed "s|@DIR@|$HOME/{FOLDER.removeprefix("~/")}|g"'
    if platform is Platform.MAC:
        keep_running = [
            "mkdir -p ~/Library/LaunchAgents",
            f"curl -fsSL {services}/launchd-agent.plist | {fill_in} > {_PLIST}",
            f"launchctl bootstrap gui/$(id -u) {_PLIST}",
        ]
    else:
        keep_running = [
            "mkdir -p ~/.config/systemd/user",
            f"curl -fsSL {services}/systemd-user.service | {fill_in} > {_UNIT}",
            "systemctl --user daemon-reload",
            "systemctl --user enable --now jatevo-agent",
            'loginctl enable-linger "$USER"   # keeps it running while you are logged out',
        ]
    return ByHand("\n".join(install), _agent("run"), "\n".join(keep_running))


def in_a_container(download: Download) -> str:
    """Runs the agent in a container beside a runtime on the same machine, for an agent.yaml in its folder."""
    return "\n".join(
        [
            f"curl -fsSL {download.base}/install/agent/Dockerfile |",
            f"  docker build --build-arg AGENT={download.requirement} -t jatevo-agent -",
            "docker run -d --name jatevo-agent --restart unless-stopped --network host --gpus all \\",
            f'  --user "$(id -u):$(id -g)" -v {FOLDER}:/data/.jatevo jatevo-agent',
        ]
    )


def chores_of(platform: Platform) -> tuple[Chores, ...]:
    """Start, stop, logs, update, uninstall: for each way to install the agent on that platform."""
    if platform is Platform.MAC:
        return _MAC, _MAC_DAEMON
    if platform is Platform.LINUX:
        return _LINUX, _LINUX_MACHINE
    return _LINUX, _LINUX_MACHINE, _CONTAINER


def _agent(verb: str, folder: str = FOLDER) -> str:
    return f"{folder}/venv/bin/jatevo-agent {verb} --config {folder}/agent.yaml"


def _chores(title: str, ask: str, folder: str = FOLDER, **commands: str) -> Chores:
    """`ask` comes before the agent's own commands, as `sudo`."""
    own = {
        "Status": ask + _agent("status", folder),
        "Find out what is wrong": ask + _agent("doctor", folder),
        "Update": ask + _agent("update", folder),
    }
    given = {name.replace("_", " ").capitalize(): command for name, command in commands.items()}
    order = ("Status", "Find out what is wrong", "Logs", "Start", "Stop", "Restart", "Update", "Uninstall")
    both = {**own, **given}
    return Chores(title, tuple(Chore(name, both[name]) for name in order if name in both))


_MAC = _chores(
    "Mac, started when you log in",
    "",
    logs=f"tail -f {FOLDER}/agent.log",
    start=f"launchctl bootstrap gui/$(id -u) {_PLIST}",
    stop="launchctl bootout gui/$(id -u)/net.jatevo.agent",
    restart="launchctl kickstart -k gui/$(id -u)/net.jatevo.agent",
    uninstall=f"launchctl bootout gui/$(id -u)/net.jatevo.agent; rm {_PLIST}; rm -r {FOLDER}",
)
_MAC_DAEMON = _chores(
    "Mac, started with the machine (--daemon)",
    "",
    logs=f"tail -f {FOLDER}/agent.log",
    start="sudo launchctl bootstrap system /Library/LaunchDaemons/net.jatevo.agent.plist",
    stop="sudo launchctl bootout system/net.jatevo.agent",
    restart="sudo launchctl kickstart -k system/net.jatevo.agent",
    uninstall="sudo launchctl bootout system/net.jatevo.agent;"
    f" sudo rm /Library/LaunchDaemons/net.jatevo.agent.plist; rm -r {FOLDER}",
)
_LINUX = _chores(
    "Linux, installed as yourself",
    "",
    logs="journalctl --user -u jatevo-agent -f",
    start="systemctl --user start jatevo-agent",
    stop="systemctl --user stop jatevo-agent",
    restart="systemctl --user restart jatevo-agent",
    uninstall=f"systemctl --user disable --now jatevo-agent; rm {_UNIT}; rm -r {FOLDER}",
)
_LINUX_MACHINE = _chores(
    "Linux, installed as root",
    "sudo ",
    MACHINE_FOLDER,
    logs="sudo journalctl -u jatevo-agent -f",
    start="sudo systemctl start jatevo-agent",
    stop="sudo systemctl stop jatevo-agent",
    restart="sudo systemctl restart jatevo-agent",
    uninstall="sudo systemctl disable --now jatevo-agent; sudo rm /etc/systemd/system/jatevo-agent.service;"
    f" sudo rm -r {MACHINE_FOLDER}; sudo userdel jatevo",
)
_CONTAINER = Chores(
    "In a container",
    (
        Chore("Status", "docker exec jatevo-agent jatevo-agent status --config /data/.jatevo/agent.yaml"),
        Chore(
            "Find out what is wrong",
            "docker exec jatevo-agent jatevo-agent doctor --config /data/.jatevo/agent.yaml",
        ),
        Chore("Logs", "docker logs -f jatevo-agent"),
        Chore("Start", "docker start jatevo-agent"),
        Chore("Stop", "docker stop jatevo-agent"),
        Chore("Update", "docker rm -f jatevo-agent   # then build and run it again"),
        Chore("Uninstall", f"docker rm -f jatevo-agent; docker rmi jatevo-agent; rm -r {FOLDER}"),
    ),
)
