"""The programs on the page "Verify a receipt" come to the same result as the console, in three languages."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from jatevo.wire.keys import public_key_text
from jatevo.wire.signing import sign, verify
from tests.docs.programs import first_block, program
from tests.wire.receipt_samples import PUBLIC_KEY, SIGNING_KEY, unsigned_receipt

TIMEOUT_SECONDS = 30
LANGUAGES = {"verify.py": [sys.executable], "verify.mjs": ["node"], "verify.sh": ["sh"]}
NEEDS = {"verify.sh": ("jq", "openssl")}

# What canonical JSON gets wrong first: numbers, order, escapes, other scripts, nested members.
RECEIPTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "a whole float": {"p95_ms": 310.0},
    "fractions": {"p95_ms": 12.5, "x": [0.1, 1.25, 100.001]},
    "no checkpoints": {"s3_checkpoints": []},
    "all members": {
        "outcome": "cancelled", "finish": "stop", "usage_source": "counted",
        "output_hash": "blake3:" + "c3" * 32,
    },
    "another script": {"model_id": "通义千问 2.5 größer", "é": "ü"},
    "escapes": {"model_id": 'a"b\\c/d', "x_note": "line\nbreak\ttab\u0007"},
    "nested": {"x_trace": {"b": [1, {"z": None, "a": True}], "a": {}}},
}  # fmt: skip


@pytest.fixture(params=sorted(LANGUAGES))
def language(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    for tool in NEEDS.get(name, (LANGUAGES[name][0],)):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    return name


def run(language: str, folder: Path, text: str, key: bytes) -> "subprocess.CompletedProcess[str]":
    (folder / language).write_text(program("verify", language))
    (folder / "receipt.json").write_text(text)
    command = [*LANGUAGES[language], language, "receipt.json", public_key_text(key)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)


@pytest.mark.parametrize("changes", RECEIPTS.values(), ids=RECEIPTS)
@pytest.mark.parametrize("layout", [{}, {"indent": 2, "ensure_ascii": False}], ids=["compact", "pretty"])
def test_a_genuine_receipt_is_valid(
    language: str, changes: dict[str, Any], layout: dict[str, Any], tmp_path: Path
) -> None:
    receipt = sign(unsigned_receipt(**changes), SIGNING_KEY)
    assert verify(receipt, PUBLIC_KEY)
    ended = run(language, tmp_path, json.dumps(receipt, **layout), PUBLIC_KEY)
    assert (ended.returncode, ended.stdout) == (0, "valid\n"), ended.stderr


@pytest.mark.parametrize(
    ("member", "value"),
    [("tokens_output", 93), ("p95_ms", 310.5), ("model_id", "llama3.1-8B"), ("hedged", True), ("more", 1)],
)
def test_a_changed_receipt_is_not(language: str, member: str, value: Any, tmp_path: Path) -> None:
    receipt = {**sign(unsigned_receipt(), SIGNING_KEY), member: value}
    ended = run(language, tmp_path, json.dumps(receipt), PUBLIC_KEY)
    assert ended.returncode == 1
    assert "does not match" in ended.stderr
    assert not ended.stdout


def test_another_nodes_key_does_not_fit(language: str, tmp_path: Path) -> None:
    receipt = sign(unsigned_receipt(), SIGNING_KEY)
    stranger = bytes(SigningKey(bytes(32)).verify_key)
    ended = run(language, tmp_path, json.dumps(receipt), stranger)
    assert (ended.returncode, ended.stdout) == (1, "")


def test_the_example_of_a_receipt_has_valid_fields() -> None:
    from jatevo.wire.schema import check_fields

    example = json.loads(first_block("receipts", "json"))
    example["signature"] = sign(example, SIGNING_KEY)["signature"]
    assert check_fields(example, now=example["ts_end"] + 1) == []
