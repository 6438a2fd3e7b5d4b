"""`python -m jatevo.local run` and `python -m jatevo.local stores [--temporary] -- COMMAND …`."""

import sys

from jatevo.local.stopping import listen

if __name__ == "__main__":
    asked_to_stop = listen()
    from jatevo.local.commands import main  # takes a second to load, so the signal handlers come first

    sys.exit(main(asked_to_stop))
