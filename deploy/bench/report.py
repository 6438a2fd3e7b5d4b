"""The figures as Markdown and as JSON."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.cases import Case
from bench.measuring import Times, percentile


@dataclass(frozen=True)
class TimingLine:
    """Milliseconds of one case, or of a group (`name` "all")."""

    group: str
    name: str
    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    limit_ms: float | None

    @property
    def verdict(self) -> str:
        if self.limit_ms is None:
            return ""
        return "pass" if self.p95_ms <= self.limit_ms else "FAIL"


@dataclass
class BenchReport:
    """`facts` are named figures without a distribution, such as the seconds of an export."""

    title: str
    facts: dict[str, str] = field(default_factory=dict)
    lines: list[TimingLine] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.failures and all(line.verdict != "FAIL" for line in self.lines)

    def add(self, times: Times, *, suffix: str = "", judged: bool = True) -> None:
        """Adds a line for each name in a group and one for the whole group. If not `judged`, only the latter."""
        named: dict[tuple[str, str], list[Case]] = defaultdict(list)
        groups: dict[str, list[Case]] = defaultdict(list)
        for case in times.by_case:
            named[case.group, case.name].append(case)
            groups[case.group].append(case)
        for (group, name), cases in sorted(named.items()) if judged else ():
            self._add(group + suffix, name, cases, times, judged)
        for group, cases in sorted(groups.items()):
            if not judged or len({case.name for case in cases}) > 1:
                self._add(group + suffix, "all", cases, times, judged)
        self.failures += times.failures

    def _add(self, group: str, name: str, cases: Sequence[Case], times: Times, judged: bool) -> None:
        values = times.of(cases)
        limit = cases[0].limit_ms if judged else None
        p50_ms, p95_ms, p99_ms = (percentile(values, share) for share in (0.50, 0.95, 0.99))
        self.lines.append(TimingLine(group, name, len(values), p50_ms, p95_ms, p99_ms, limit))

    def markdown(self) -> str:
        text = [f"## {self.title}", "", "| what | |", "| --- | --- |"]
        text += [f"| {name} | {value} |" for name, value in self.facts.items()]
        text += ["", "| group | case | requests | p50 ms | p95 ms | p99 ms | limit | |"]
        text.append("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")
        for line in self.lines:
            limit = "" if line.limit_ms is None else f"{line.limit_ms:.0f}"
            figures = f"{line.p50_ms:.1f} | {line.p95_ms:.1f} | {line.p99_ms:.1f}"
            text.append(
                f"| {line.group} | {line.name} | {line.count} | {figures} | {limit} | {line.verdict} |"
            )
        if self.failures:
            text += ["", f"{len(self.failures)} answers were not 200:", *self.failures[:20]]
        return "\n".join(text) + "\n"

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [{**vars(line), "verdict": line.verdict} for line in self.lines]
        found = {"title": self.title, "facts": self.facts, "lines": lines, "failures": self.failures}
        path.write_text(json.dumps(found, indent=2) + "\n")
