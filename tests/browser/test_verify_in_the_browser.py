"""Receipts verified by the browser itself: the same answers as the console's, for good, forged and hostile ones."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey
from playwright.sync_api import Browser, Locator, Page, expect

from jatevo.wire.keys import public_key_text
from jatevo.wire.signing import sign
from tests.browser.console import RunningConsole
from tests.browser.visitors import Visitors
from tests.web.torture import NOT_STRICT
from tests.wire.receipt_samples import PUBLIC_KEY, SIGNING_KEY, unsigned_receipt
from tests.wire.test_wire_canonical import JSON_VALUES
from tests.wire.test_wire_signing import wycheproof_vectors

KEY = public_key_text(PUBLIC_KEY)
# The module is loaded as the page loads it; bytes travel as base64.
IN_BROWSER = """async ([name, call]) => {
  const source = document.querySelector('[data-module]').dataset.module;
  const module = await import(source.replace(/any_receipt[^/]*$/, name));
  const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
  return await (new Function('module', 'bytesOf', 'base64', 'return ' + call.code)(module, bytesOf, base64))(call.with);
}"""


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.fixture(scope="module")
def workbench(chromium: Browser, console: RunningConsole) -> Iterator[Page]:
    """A page of the console in which modules are tried. Only here may strings be run as code."""
    context = chromium.new_context(base_url=console.url, bypass_csp=True)
    page = context.new_page()
    page.goto("/verify/")
    yield page
    context.close()


def run(page: Page, module: str, code: str, value: Any) -> Any:
    return page.evaluate(IN_BROWSER, [module, {"code": code, "with": value}])


READ = """async (bodies) => bodies.map((body) => {
  try { module.parseStrict(bytesOf(body)); return 'read'; }
  catch (error) { return error instanceof module.InvalidJson ? 'refused' : String(error); }
})"""


def test_browser_refuses_every_body_that_is_not_strict_json(workbench: Page) -> None:
    names, bodies = zip(*NOT_STRICT.items(), strict=True)
    answers = run(workbench, "strict_json.js", READ, [b64(body) for body in bodies])
    assert dict(zip(names, answers, strict=True)) == dict.fromkeys(names, "refused")


SIGNED = """async (bodies) => {
  const { parseStrict } = await import(document.querySelector('[data-module]').dataset.module
    .replace(/any_receipt[^/]*$/, 'strict_json.js'));
  return bodies.map((body) => base64(module.signedBytes(parseStrict(bytesOf(body)))));
}"""


def strict(value: Any) -> bool:
    """Whether the value has a canonical form and is strict JSON."""
    try:
        return b"\\u0000" not in rfc8785.dumps(value)
    except ValueError:
        return False


@given(
    st.lists(
        st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=4).filter(strict), min_size=20, max_size=40
    )
)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_browser_signs_over_the_same_bytes_as_the_console(
    workbench: Page, documents: list[dict[str, Any]]
) -> None:
    bodies = [b64(json.dumps(each).encode()) for each in documents]
    expected = [
        b64(rfc8785.dumps({name: value for name, value in each.items() if name != "signature"}))
        for each in documents
    ]
    assert run(workbench, "canonical.js", SIGNED, bodies) == expected


JUDGE = """async (cases) => Promise.all(cases.map(async ([key, message, signature]) => {
  const [keyBytes, signatureBytes] = [bytesOf(key), bytesOf(signature)];
  if (signatureBytes.length !== 64 || !module.isUsableKey(keyBytes)) return false;
  return (await module.verifySignature(signatureBytes, bytesOf(message), keyBytes)).ok;
}))"""
WITHOUT_ED25519 = """() => {
  const importKey = crypto.subtle.importKey.bind(crypto.subtle);
  crypto.subtle.importKey = async (...given) => {
    if (given[2]?.name === 'Ed25519') throw new DOMException('no such algorithm', 'NotSupportedError');
    return importKey(...given);
  };
}"""


def wycheproof_cases() -> tuple[list[list[str]], list[bool]]:
    cases, valid = [], []
    for each in wycheproof_vectors():
        key, case = getattr(each, "values", each)
        cases.append([b64(bytes.fromhex(case_part)) for case_part in (key, case["msg"], case["sig"])])
        valid.append(case["result"] == "valid")
    return cases, valid


def test_browser_judges_wycheproofs_signatures_like_the_console(workbench: Page) -> None:
    cases, valid = wycheproof_cases()
    assert len(cases) > 100
    assert run(workbench, "receipt.js", JUDGE, cases) == valid


def test_browser_without_ed25519_judges_them_alike(chromium: Browser, console: RunningConsole) -> None:
    context = chromium.new_context(base_url=console.url, bypass_csp=True)
    page = context.new_page()
    page.add_init_script(f"({WITHOUT_ED25519})()")
    page.goto("/verify/")
    cases, valid = wycheproof_cases()
    assert run(page, "receipt.js", JUDGE, cases) == valid
    context.close()


@pytest.mark.parametrize(
    "point",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ],
)
def test_browser_refuses_small_order_keys(workbench: Page, point: str) -> None:
    assert (
        run(
            workbench,
            "receipt.js",
            "async (key) => module.isUsableKey(bytesOf(key))",
            b64(bytes.fromhex(point)),
        )
        is False
    )
    assert (
        run(workbench, "receipt.js", "async (key) => module.isUsableKey(bytesOf(key))", b64(PUBLIC_KEY))
        is True
    )


def verdict(page: Page) -> Locator:
    return page.locator("#verdict")


def check(host: Locator, label: str) -> Locator:
    """What a check compared, by its label and outcome."""
    return host.locator(".checks > *", has_text=label).locator("dl.compared")


def text_field(page: Page) -> Locator:
    return page.locator("#id_receipt")


def test_anybody_verifies_a_pasted_receipt_offline(visitors: Visitors) -> None:
    page = visitors.open()
    page.goto("/verify/")
    page.wait_for_load_state("networkidle")
    visitors.expect_complaint("favicon")  # the browser asks for it when it likes
    page.context.set_offline(True)
    receipt = json.dumps(sign(unsigned_receipt(note="Grüße 🙂"), SIGNING_KEY))
    text_field(page).fill(receipt)
    page.get_by_label("Public key of the node").fill(KEY)
    page.get_by_role("button", name="Verify").click()
    expect(verdict(page)).to_contain_text("Valid: whoever holds this key signed this receipt.")
    expect(verdict(page)).to_contain_text("own cryptography (WebCrypto)")

    text_field(page).fill(receipt.replace('"tokens_output": 92', '"tokens_output": 93'))
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Verify").press("Enter")
    expect(verdict(page)).to_contain_text("Not valid.")
    expect(verdict(page)).to_contain_text("Failed: the signature does not match this key and these bytes")

    text_field(page).fill(receipt)
    page.get_by_label("Public key of the node").fill(public_key_text(bytes(SigningKey.generate().verify_key)))
    page.get_by_role("button", name="Verify").click()
    expect(verdict(page)).to_contain_text("Not valid.")


@pytest.mark.parametrize("native", [True, False])
def test_once_loaded_the_page_asks_nothing_more_of_the_network(
    visitors: Visitors, tmp_path: Path, native: bool
) -> None:
    """Cut off as soon as the page has loaded, with the browser's own ed25519 and with the one that comes along."""
    page = visitors.open()
    if not native:
        page.add_init_script(f"({WITHOUT_ED25519})()")
    page.goto("/verify/")  # until its load event
    page.context.set_offline(True)
    visitors.expect_complaint("favicon")  # the browser asks for it when it likes
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: asked.append(request.url))
    by = "own cryptography (WebCrypto)" if native else "noble-ed25519, since this browser"
    receipt = json.dumps(sign(unsigned_receipt(), SIGNING_KEY))
    text_field(page).fill(receipt)
    page.get_by_label("Public key of the node").fill(KEY)
    page.get_by_role("button", name="Verify").click()
    expect(verdict(page)).to_contain_text("Valid: whoever holds this key signed this receipt.")
    expect(verdict(page)).to_contain_text(by)

    file = tmp_path / "receipt.json"
    file.write_text(receipt.replace('"tokens_output": 92', '"tokens_output": 93'))
    page.get_by_label("Or choose its file").set_input_files(file)
    expect(text_field(page)).to_have_value(re.compile('"tokens_output": 93'))
    page.get_by_role("button", name="Verify").click()
    expect(verdict(page)).to_contain_text("Not valid.")
    assert [url for url in asked if "favicon" not in url] == []


def test_chosen_file_is_checked_byte_by_byte(visitors: Visitors, tmp_path: Path) -> None:
    page = visitors.open()
    page.goto("/verify/")
    file = tmp_path / "receipt.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(sign(unsigned_receipt(), SIGNING_KEY)).encode())
    page.get_by_label("Or choose its file").set_input_files(file)
    expect(text_field(page)).not_to_have_value("")
    page.get_by_label("Public key of the node").fill(KEY)
    page.get_by_role("button", name="Verify").click()
    expect(verdict(page)).to_contain_text("Failed: this is not strict JSON")
    file = tmp_path / "second.json"
    file.write_bytes(json.dumps(sign(unsigned_receipt(note="second"), SIGNING_KEY)).encode() + b"\r\n")
    page.get_by_label("Or choose its file").set_input_files(file)
    expect(text_field(page)).to_have_value(re.compile("second"))
    page.get_by_role("button", name="Verify").click()
    expect(verdict(page)).to_contain_text("Valid: whoever holds this key signed this receipt.")


def test_verdict_goes_as_soon_as_anything_changes(visitors: Visitors, tmp_path: Path) -> None:
    """A verdict beside another text or key would be a lie."""
    page = visitors.open()
    page.goto("/verify/")
    receipt = json.dumps(sign(unsigned_receipt(), SIGNING_KEY))
    key = page.get_by_label("Public key of the node")
    file = tmp_path / "receipt.json"
    file.write_bytes(receipt.replace('"tokens_output": 92', '"tokens_output": 93').encode())

    def verified() -> None:
        text_field(page).fill(receipt)
        key.fill(KEY)
        page.get_by_role("button", name="Verify").click()
        expect(verdict(page)).to_contain_text("Valid: whoever holds this key signed this receipt.")

    verified()
    text_field(page).press_sequentially(" ")
    expect(verdict(page)).to_be_empty()
    verified()
    key.press_sequentially("A")
    expect(verdict(page)).to_be_empty()
    verified()
    page.get_by_label("Or choose its file").set_input_files(file)
    expect(text_field(page)).to_have_value(re.compile('"tokens_output": 93'))
    expect(verdict(page)).to_be_empty()


INSTEAD_OF_VERIFY = """(code) => {
  const old = crypto.subtle.verify.bind(crypto.subtle);
  crypto.subtle.verify = new Function('old', 'return ' + code)(old);
}"""
SLOW = """async (...given) => {
  const answer = await old(...given);
  await new Promise((done) => (globalThis.goOn = done));
  return answer;
}"""
BROKEN = "async () => { throw new Error('out of order'); }"


def test_verdict_about_what_was_changed_meanwhile_is_not_shown(
    chromium: Browser, console: RunningConsole
) -> None:
    context = chromium.new_context(base_url=console.url, bypass_csp=True)
    page = context.new_page()
    page.goto("/verify/")
    text_field(page).fill(json.dumps(sign(unsigned_receipt(), SIGNING_KEY)))
    page.get_by_label("Public key of the node").fill(KEY)
    page.evaluate(INSTEAD_OF_VERIFY, SLOW)
    page.get_by_role("button", name="Verify").click()
    page.wait_for_function("() => 'goOn' in globalThis")
    text_field(page).press_sequentially(" ")
    page.evaluate("globalThis.goOn()")
    page.evaluate("null")  # by now the page has gone on as far as it can
    expect(verdict(page)).to_be_empty()
    context.close()


def test_check_that_breaks_off_says_so_in_place_of_the_last_verdict(
    chromium: Browser, console: RunningConsole
) -> None:
    context = chromium.new_context(base_url=console.url, bypass_csp=True)
    page = context.new_page()
    page.goto("/verify/")
    text_field(page).fill(json.dumps(sign(unsigned_receipt(), SIGNING_KEY)))
    page.get_by_label("Public key of the node").fill(KEY)
    page.get_by_role("button", name="Verify").click()
    expect(verdict(page)).to_contain_text("Valid:")
    page.evaluate(INSTEAD_OF_VERIFY, BROKEN)
    page.get_by_role("button", name="Verify").click()
    expect(verdict(page)).to_have_text("The receipt could not be checked: out of order")
    context.close()


def test_stored_receipt_is_verified_on_its_page(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    page.goto(f"/receipts/?node_id={busy_node}")
    page.locator("[data-list] [data-open]").first.click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_role("button", name="Verify in this browser").click()
    expect(drawer).to_contain_text("Valid, as computed in this browser.")
    result = drawer.locator("[data-result]")
    sha256 = drawer.locator("[data-sha256]").get_attribute("data-sha256")
    expect(check(result, "Bytes: Done")).to_have_text(f"Computed now{sha256}On this page{sha256}")
    expect(check(result, "Node: Done")).to_have_text(f"Named in the JSON{busy_node}On this page{busy_node}")
    expect(check(result, "Signature: Done")).to_contain_text("Verified by")

    page.route("**/raw", lambda route: route.fulfill(body='{"node_id": "an\u202eother"}', status=200))
    drawer.get_by_role("button", name="Verify in this browser").click()
    expect(drawer).to_contain_text("Not valid, as computed in this browser.")
    expect(check(result, "Node: Failed")).to_have_text(
        f'Named in the JSON"an\\u{{202e}}other"On this page{busy_node}'
    )
    expect(result).to_contain_text("Failed: the receipt names another than this page")
