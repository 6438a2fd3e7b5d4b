"""`jatevo-agent update`: install the console's newest agent, and restart the service."""

from __future__ import annotations

import argparse

from .. import __version__
from ..config import load_config
from ..exits import CannotRun, ExitCode
from ..newest import NoAnswer, is_older, newest_agent
from ..service import find_service
from ..update import environment_problem, install


def update(options: argparse.Namespace) -> ExitCode:
    """Update if there is something newer. With `--check` only say so: 1 if there is. Raises CannotRun."""
    console_url = load_config(options.config).console
    try:
        newest = newest_agent(console_url)
    except NoAnswer as error:
        raise CannotRun(str(error), ExitCode.TRY_LATER) from error
    if not is_older(__version__, newest.version):
        print(f"jatevo-agent {__version__} is the newest that {console_url} offers.")
        return ExitCode.STOPPED
    if options.check:
        print(f"jatevo-agent {newest.version} is out; this is {__version__}.")
        return ExitCode.CRASHED
    if problem := environment_problem():
        raise CannotRun(f"{problem} Install {newest.version} in the way that it was installed.")
    install(console_url, newest)
    print(f"Installed jatevo-agent {newest.version}; it was {__version__}.")
    service = find_service(options.config)
    if not options.no_restart and service.restarted():
        print("The agent has been restarted.")
    else:
        print(f"Restart the agent to use it: {service.restart}")
    return ExitCode.STOPPED
