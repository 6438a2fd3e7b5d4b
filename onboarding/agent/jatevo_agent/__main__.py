"""`python -m jatevo_agent` runs the command `jatevo-agent`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
