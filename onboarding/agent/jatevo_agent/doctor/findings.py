"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..wire.text_enum import TextEnum


class Verdict(TextEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but something should be looked at."""
    PROBLEM = "problem"
    """The node does not serve, or not for long."""
    UNKNOWN = "unknown"
    """It could not be checked."""


@dataclass(frozen=True)
class Finding:
    """One result. `fix` says what to do, as a sentence with a command where there is one."""

    subject: str
    verdict: Verdict
    text: str
    fix: str = ""


def lines(findings: Iterable[Finding]) -> list[str]:
    """The findings for a terminal, each fix below its finding."""
    printed = []
    for finding in findings:
        printed.append(f"{finding.verdict:<8} {finding.subject}: {finding.text}")
        if finding.fix:
            printed.append(f"{'':<8} {'-> ' + finding.fix}")
    return printed
