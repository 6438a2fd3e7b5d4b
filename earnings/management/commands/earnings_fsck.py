import json
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import asdict
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from earnings.accrual.fsck import Examined, examine


class Command(BaseCommand):
    """`manage.py earnings_fsck`: whether the books of earnings agree with themselves. It changes nothing."""

    help = (
        "Check that items, lines, ledger, payments and files of earnings agree. Ends with 1 if they do not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=_day, help="leave out items of earlier days, YYYY-MM-DD")
        parser.add_argument("--full", action="store_true", help="compute all fees again, not a sample")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        done: list[Examined] = []
        for result in examine(since=options["since"], full=options["full"]):
            done.append(result)
            if not options["json"]:
                self._say(result)
        failed = [result for result in done if not result.ok]
        if options["json"]:
            checks = [{**asdict(result), "ok": result.ok} for result in done]
            self.stdout.write(json.dumps({"ok": not failed, "checks": checks}))
        if failed:
            names = ", ".join(result.key for result in failed)
            raise CommandError(f"{len(failed)} of {len(done)} checks failed: {names}.")
        if not options["json"]:
            self.stdout.write(self.style.SUCCESS(f"All {len(done)} checks passed."))

    def _say(self, result: Examined) -> None:
        verdict = self.style.SUCCESS("ok    ") if result.ok else self.style.ERROR("FAILED")
        self.stdout.write(f"{verdict} {result.key}: {result.promise} ({result.seconds:.1f} s)")
        for finding in result.findings:
            self.stdout.write(f"       {finding.subject}: {finding.detail}")
        if result.count > len(result.findings):
            self.stdout.write(f"       and {result.count - len(result.findings):,} more")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError("a date, such as 2026-03-01") from error
