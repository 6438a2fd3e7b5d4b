"""From nothing to a verified receipt: the wizard in a browser, its command in an empty home, a real model.

Ollama, vLLM and macOS are not tried here. The runtime is llama.cpp's own server with SmolLM2 135M on this Linux.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import RunningConsole
from tests.browser.empty_machine import NO_PACKAGES, EmptyMachine, warm_packages
from tests.browser.measuring import Measure
from tests.browser.pages import step
from tests.browser.processes import LOOPBACK, free_port
from tests.browser.visitors import Stopwatch, Visitors, sign_in
from tests.real_runtime import MODEL, RealRuntime, real_runtime

__all__ = ["real_runtime"]

NODE = "newcomer-001"


@pytest.fixture
def machine() -> Iterator[EmptyMachine]:
    trouble = warm_packages()
    if any(sign in trouble for sign in NO_PACKAGES):
        pytest.skip("pip cannot download the agent's packages here")
    assert trouble == ""
    made = EmptyMachine()
    yield made
    made.remove()


@pytest.mark.timeout(1800)
def test_newcomer_has_a_verified_receipt_of_a_real_completion(
    console: RunningConsole,
    validator: str,
    real_runtime: RealRuntime,
    machine: EmptyMachine,
    visitors: Visitors,
    measure: Measure,
) -> None:
    port = free_port()
    since_start = Stopwatch()
    page = visitors.open()
    sign_in(page, **console.login("operator"))
    command = walk_the_wizard(page, runtime_url=real_runtime.url, endpoint=f"http://{LOOPBACK}:{port}")

    if Path("/run/systemd/system").exists():  # this machine's services are not the test's
        command = command.replace("| sh", "| sh -s -- --no-service")
    typed: list[str] = []
    terminal = threading.Thread(target=lambda: typed.append(said_by(machine, command)))
    terminal.start()
    for name in (
        "Registered",
        "First heartbeat",
        "Runtime answers",
        "Models found",
        "Probe passed",
        "Active",
    ):
        expect(step(page, name, "Done")).to_be_visible(timeout=since_start.rest_ms(250))
        measure(f"sign-in to '{name}' of a newcomer's node", since_start.seconds())
    terminal.join()
    assert "active" in typed[0].lower(), typed[0]

    page.get_by_role("button", name="Prove it").click()
    expect(step(page, "Answered", "Done")).to_contain_text(MODEL, timeout=since_start.rest_ms(250))
    verified = step(page, "Receipt verified", "Done")
    expect(verified).to_be_visible(timeout=since_start.rest_ms(250))
    expect(step(page, "First receipt", "Done")).to_be_visible(timeout=since_start.rest_ms(250))
    request_id = str(verified.get_by_role("link").text_content()).strip()
    verified.get_by_role("link").click()
    verification = page.get_by_role("region", name="Verification")
    expect(verification.get_by_text("Valid", exact=True)).to_be_visible()
    measure("sign-in to a verified receipt of a real completion", since_start.seconds())

    signed = console.get_json(f"/v1/receipts/{NODE}/{request_id}/raw")
    assert signed["model_id"] == MODEL
    assert signed["tokens_output"] > 1
    assert signed["usage_source"] == "runtime"


def walk_the_wizard(page: Page, *, runtime_url: str, endpoint: str) -> str:
    """Returns the command that the page shows."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Run a node").click()
    page.locator(
        "a[href='?platform=linux']"
    ).click()  # other tests have enrolled nodes with Linux in their names
    page.get_by_label("Node ID").fill(NODE)
    page.get_by_label("Region").fill("eu-central")
    page.get_by_label("Runtime", exact=True).select_option("vllm")
    page.get_by_label("Runtime address").fill(runtime_url)
    page.get_by_label("Public address").fill(endpoint)
    page.get_by_role("button", name="Create the command").click()
    shown = page.locator("#install-command")
    expect(shown).to_contain_text("| sh")
    return str(shown.text_content()).strip()


def said_by(machine: EmptyMachine, command: str) -> str:
    ran = machine.run(command)
    return f"{ran.stdout}\n{ran.stderr}\n(ended with {ran.returncode})"
