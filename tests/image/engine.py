"""Podman, with storage, networks and settings of its own, which vanish with the folder."""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("podman", "runc", "netavark", "aardvark-dns", "iptables", "debootstrap", "debian-archive-keyring")
COMMANDS = ("podman", "runc", "iptables", "debootstrap")


class Problem(Exception):
    """The run cannot go on; the message is for the person who started it."""


def install() -> None:
    """Installs what is missing. Raises Problem where that is not possible."""
    if os.geteuid() != 0:
        raise Problem("make image-test needs root, because it starts containers with networks of their own.")
    if all(shutil.which(name) for name in COMMANDS) and Path("/usr/lib/podman/netavark").exists():
        return
    if shutil.which("apt-get") is None:
        raise Problem(f"make image-test needs {', '.join(PACKAGES)}, and can install them with apt-get only.")
    print(f"Installing {', '.join(PACKAGES)}", flush=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-qq", *command], env=env, capture_output=True, text=True)
        if done.returncode:
            raise Problem(f"apt-get {command[0]} failed:\n{done.stderr.strip()[-1500:]}")


class Engine:
    """Podman in a folder. `logs` gets what its commands say."""

    def __init__(self, home: Path, log: Path) -> None:
        self.home = home
        self._log = log.open("w")
        self.limits = {
            "nofile": min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 262_144),
            "nproc": min(resource.getrlimit(resource.RLIMIT_NPROC)[1], 4096),
        }
        ulimits = ", ".join(f'"{name}={limit}:{limit}"' for name, limit in self.limits.items())
        settings = home / "containers.conf"
        settings.write_text(
            f"[containers]\ndefault_ulimits = [{ulimits}]\n"
            'log_driver = "k8s-file"\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'tmp_dir = "{home}/libpod"\n'
            f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{home}/networks"\n'
        )
        storage = home / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{home}/storage"\nrunroot = "{home}/run"\n'
        )
        self._env = os.environ | {
            "CONTAINERS_CONF": str(settings),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_REGISTRIES_CONF": os.devnull,  # nothing is fetched from anywhere
            "BUILDAH_FORMAT": "docker",  # the format that knows health checks
        }

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of Podman, such as `ps`. Raises Problem if it fails and `check` is on."""
        command = ["podman", *arguments]
        self._log.write(f"\n$ {' '.join(command)}\n")
        done = subprocess.run(command, env=self._env, capture_output=True, text=True)
        self._log.write(done.stdout + done.stderr)
        self._log.flush()
        if check and done.returncode:
            raise Problem(f"podman {' '.join(arguments[:6])} … failed:\n{done.stderr.strip()[-2000:]}")
        return done

    def build(self, context: Path, *arguments: str, mounts: Sequence[str] = ()) -> None:
        """Builds an image on this machine's network, with folders of this machine mounted while it does."""
        volumes = [part for mount in mounts for part in ("--volume", mount)]
        self.run(
            "build",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "--pull=never",
            *volumes,
            *arguments,
            str(context),
        )

    def inspect(self, name: str) -> dict[str, Any]:
        """What Podman knows of a container or an image."""
        found: list[dict[str, Any]] = json.loads(self.run("inspect", name).stdout)
        return found[0]

    def remove_containers(self) -> None:
        """Ends and removes everything that was started, with its data."""
        self.run("rm", "--all", "--force", "--time", "5", check=False)
        self.run("volume", "rm", "--all", "--force", check=False)
        self.run("network", "prune", "--force", check=False)

    def remove_images(self) -> None:
        """Removes what was built."""
        self.run("rmi", "--all", "--force", check=False)
