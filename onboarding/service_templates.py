"""Commands and service files that install the agent, per platform. Pure: values in, text out."""

import shlex
from dataclasses import dataclass

from onboarding.agent_config import Platform

FOLDER = "~/.jatevo"
LAUNCHD_LABEL = "net.jatevo.agent"
LAUNCHD_FILE = f"{LAUNCHD_LABEL}.plist"
SYSTEMD_FILE = "jatevo-agent.service"

# launchd expands neither ~ nor $HOME, hence the shell.
_LAUNCHD = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>{LAUNCHD_LABEL}</string>
  <key>ProgramArguments</key>
  <array>
    <string>/bin/sh</string>
    <string>-c</string>
    <string>cd "$HOME/.jatevo" &amp;&amp;
      exec venv/bin/jatevo-agent run --config agent.yaml &gt;&gt;agent.log 2&gt;&amp;1</string>
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>ThrottleInterval</key>
  <integer>5</integer>
  <key>ProcessType</key>
  <string>Background</string>
</dict>
</plist>
"""

_SYSTEMD = """\
[Unit]
Description=Jatevo agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=%h/.jatevo/venv/bin/jatevo-agent run --config %h/.jatevo/agent.yaml
Restart=always
RestartSec=5
NoNewPrivileges=yes
UMask=0077

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True)
class ServiceFile:
    """A file that keeps the agent running, and the commands that put it to work."""

    name: str
    media_type: str
    text: str
    commands: str


@dataclass(frozen=True)
class Instructions:
    """What to type on a machine of one platform: install, try in the foreground, install as a service."""

    install: str
    run: str
    service: ServiceFile


def instructions(platform: Platform, *, agent_url: str) -> Instructions:
    """The commands for a platform; `agent_url` is where pip gets the agent from."""
    install = "\n".join(
        [
            *_CHECKS[platform],
            f"mkdir -p {FOLDER} && chmod 700 {FOLDER}",
            f"python3 -m venv {FOLDER}/venv",
            f"{FOLDER}/venv/bin/pip install {shlex.quote('jatevo-agent @ ' + agent_url)}",
            f"mv ~/Downloads/agent.yaml {FOLDER}/ && chmod 600 {FOLDER}/agent.yaml",
        ]
    )
    run = f"{FOLDER}/venv/bin/jatevo-agent run --config {FOLDER}/agent.yaml"
    return Instructions(install, run, _LAUNCHD_SERVICE if platform is Platform.MAC else _SYSTEMD_SERVICE)


_CHECKS: dict[Platform, tuple[str, ...]] = {
    Platform.MAC: ("python3 --version   # 3.11 or later; otherwise: brew install python",),
    Platform.LINUX: ("python3 --version   # 3.11 or later",),
    Platform.NVIDIA: ("nvidia-smi          # must list your cards", "python3 --version   # 3.11 or later"),
}

_LAUNCHD_SERVICE = ServiceFile(
    LAUNCHD_FILE,
    "application/x-plist",
    _LAUNCHD,
    "\n".join(
        [
            f"mv ~/Downloads/{LAUNCHD_FILE} ~/Library/LaunchAgents/",
            f"launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/{LAUNCHD_FILE}",
            f"tail -f {FOLDER}/agent.log",
        ]
    ),
)
_SYSTEMD_SERVICE = ServiceFile(
    SYSTEMD_FILE,
    "text/plain",
    _SYSTEMD,
    "\n".join(
        [
            "mkdir -p ~/.config/systemd/user",
            f"mv ~/Downloads/{SYSTEMD_FILE} ~/.config/systemd/user/",
            "systemctl --user daemon-reload",
            "systemctl --user enable --now jatevo-agent",
            'loginctl enable-linger "$USER"   # keeps it running when you log out',
            "journalctl --user -u jatevo-agent -f",
        ]
    ),
)
