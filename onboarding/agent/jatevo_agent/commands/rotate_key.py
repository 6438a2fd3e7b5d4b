"""`jatevo-agent rotate-key`: change the node's key, whether the agent is running or not."""

from __future__ import annotations

import argparse
import os
import time

from ..config import load_config
from ..exits import CannotRun, ExitCode
from ..key_change import prepare_key_change, public_text
from ..state import NodeState, StateFolder

WAIT_SECONDS = 30.0
LOOK_EVERY_SECONDS = 0.2


def rotate_key(options: argparse.Namespace) -> ExitCode:
    """Change the key and print the new one.

    A running agent does it at once; 1 if the console refused the new key, and 3 if it did not answer within
    WAIT_SECONDS, and then the agent goes on trying. Otherwise the agent does it at its next start. Raises
    CannotRun if the node is not registered.
    """
    folder = StateFolder(load_config(options.config).state_dir)
    if folder.is_locked():
        return _by_the_running_agent(folder)
    folder.prepare()
    owner = folder.path.stat().st_uid
    if owner != os.geteuid():  # the agent could not read what another user, even root, has written
        raise CannotRun(f"{folder.path} belongs to user {owner}: run this command as that user.")
    folder.lock()
    try:
        public_key = prepare_key_change(folder)
    finally:
        folder.unlock()
    print(
        f"{public_key} is the node's next key. The agent changes to it when it starts, once the console has it."
    )
    return ExitCode.STOPPED


def _by_the_running_agent(folder: StateFolder) -> ExitCode:
    before = _registered(folder)
    try:
        folder.request_key()
    except OSError as error:
        raise CannotRun(f"{folder.path} cannot be written: {error.strerror}.") from error
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
        is_waiting = folder.is_key_requested()
        now = _registered(folder)
        if now.seed != before.seed:
            print(f"{public_text(now.seed)} is the node's key from now on.")
            return ExitCode.STOPPED
        if not is_waiting and now.next_seed is None:
            print(
                f"The new key was refused. {public_text(now.seed)} stays the node's key; the agent's log says why."
            )
            return ExitCode.CRASHED
    print("The console has not taken the new key yet. The agent goes on trying; its log says more.")
    return ExitCode.TRY_LATER


def _registered(folder: StateFolder) -> NodeState:
    state = folder.load()
    if state is None or state.node_token is None:
        raise CannotRun("This node is not registered yet, so it has no key to change.")
    return state
