"""`jatevo-agent doctor`: check everything, and say what to do."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..config import Config, load_config
from ..doctor.findings import Finding, Verdict, lines
from ..doctor.machine_checks import (
    agent_finding,
    config_finding,
    receipts_finding,
    running_findings,
    state_finding,
)
from ..doctor.network_checks import console_finding, endpoint_finding, listener_finding, view_findings
from ..doctor.report import report
from ..doctor.runtime_check import runtime_finding
from ..exits import ExitCode
from ..newest import Newest, NoAnswer, newest_agent
from ..service import Service, find_service
from ..snapshot import take_snapshot


def doctor(options: argparse.Namespace) -> ExitCode:
    """Print the findings. 0 if none is a problem, else 1. Raises CannotRun if agent.yaml cannot be used."""
    config = load_config(options.config)
    service = find_service(options.config)
    if options.report:
        findings = list(_findings(options.config, config, service))
        print(report(options.config, config, service, findings))
    else:
        findings = []
        for finding in _findings(options.config, config, service):
            findings.append(finding)
            print("\n".join(lines([finding])), flush=True)  # some checks take seconds
        print(_summary(findings))
    problems = any(finding.verdict is Verdict.PROBLEM for finding in findings)
    return ExitCode.CRASHED if problems else ExitCode.STOPPED


def _findings(path: Path, config: Config, service: Service) -> Iterator[Finding]:
    yield agent_finding(_newest(config))
    yield config_finding(path)
    state = state_finding(config)
    yield state
    if state.verdict is Verdict.PROBLEM:
        return  # without the key nothing else can be told
    snapshot = take_snapshot(config)
    yield from running_findings(snapshot, service)
    yield runtime_finding(config)
    if snapshot.is_running:
        yield listener_finding(config, snapshot.state, service)
    yield endpoint_finding(config)
    yield receipts_finding(config, snapshot)
    console = console_finding(config)
    yield console
    if console.verdict is not Verdict.PROBLEM:
        yield from view_findings(snapshot)


def _newest(config: Config) -> Newest | None:
    try:
        return newest_agent(config.console)
    except NoAnswer:
        return None


def _summary(findings: list[Finding]) -> str:
    problems = sum(finding.verdict is Verdict.PROBLEM for finding in findings)
    if problems:
        return f"\n{problems} {'problem' if problems == 1 else 'problems'}. Start with the first."
    return "\nNo problem found."
