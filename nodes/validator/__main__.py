"""`python -m nodes.validator`: runs the validator until SIGTERM or SIGINT."""

import argparse
import asyncio
import ipaddress
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from jatevo.wire.webhook import MalformedTokenError
from nodes.validator.address import AddressPolicy
from nodes.validator.console import ValidatorClient
from nodes.validator.loop import Loop
from nodes.validator.probe import Prober

ENVIRONMENT_VARIABLE = "JATEVO_VALIDATOR_TOKEN"
USAGE_ERROR = 2
STOP_SECONDS = 1.5


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and runs. Returns the exit status."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        token = os.environ.get(ENVIRONMENT_VARIABLE, "")
        console = ValidatorClient(url=options.console, validator_id=options.validator_id, token=token)
    except MalformedTokenError as error:
        sys.stderr.write(f"{ENVIRONMENT_VARIABLE}: {error}. The admin shows it when a validator is made.\n")
        return USAGE_ERROR
    policy = AddressPolicy(allow_private=options.allow_private, networks=tuple(options.allow_network))
    asyncio.run(_run(console, Prober(policy), interval=options.interval, concurrency=options.concurrency))
    return 0


async def _run(console: ValidatorClient, prober: Prober, *, interval: float, concurrency: int) -> None:
    loop = Loop(console, prober, interval_seconds=interval, concurrency=concurrency)

    def stop() -> None:
        loop.stop()
        # A name look-up that hangs in the system's resolver cannot be interrupted, and must not delay the
        # exit.
        deadline = threading.Timer(STOP_SECONDS, os._exit, (0,))
        deadline.daemon = True
        deadline.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await loop.run()
    finally:
        await console.aclose()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nodes.validator",
        description="Probe the nodes of a Jatevo console and post what was measured.",
        epilog=f"The validator's token is read from {ENVIRONMENT_VARIABLE}.",
    )
    parser.add_argument("--console", required=True, type=_console_url, metavar="URL")
    parser.add_argument("--validator-id", required=True, metavar="ID", help="its id in the console's admin")
    parser.add_argument(
        "--allow-private",
        action="store_true",
        help="also probe loopback and private addresses (link-local ones need --allow-network)",
    )
    parser.add_argument(
        "--allow-network",
        action="append",
        default=[],
        type=ipaddress.ip_network,
        metavar="CIDR",
        help="also probe addresses of this network; may be repeated",
    )
    parser.add_argument(
        "--interval", type=_positive, default=2.0, metavar="SECONDS", help="between two polls"
    )
    parser.add_argument("--concurrency", type=_workers, default=8, metavar="N", help="probes at a time")
    return parser


def _console_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError("must be an http or https URL")
    return text


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _workers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError("must be 1 to 256")
    return number


if __name__ == "__main__":
    sys.exit(main())
