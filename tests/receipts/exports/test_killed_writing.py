"""An export whose worker is killed with SIGKILL, part after part, is the file of an undisturbed one."""

import gzip
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from jatevo.accounts.models import Role
from receipts.models import ExportState, Receipt, ReceiptExport, ReceiptExportPart
from tests.accounts.people import make_user
from tests.receipts.exports.conftest import NOON, Many

pytestmark = pytest.mark.django_db(transaction=True)

BASE_DIR = Path(__file__).parents[3]
ROWS, KILLS = 600, 3
_WRITE = """
import django
django.setup()
from receipts.exports import writing
writing.ROWS_PER_PART = 20
while writing.write_exports(seconds=0.001):
    print("part", flush=True)
"""


def worker() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _WRITE],
        cwd=BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.timeout(900)
def test_killed_again_and_again_it_has_every_row_once(many: Many) -> None:
    many(ROWS)
    export = ReceiptExport.objects.create(
        user=make_user(Role.ADMIN), role=Role.ADMIN, file_format="jsonl", file_name="all.jsonl.gz", zone="UTC",
        query=f"?as_of={(NOON + timedelta(days=1)).isoformat().replace('+00:00', 'Z')}", expected_rows=ROWS,
    )  # fmt: skip
    for _ in range(KILLS):
        with worker() as process:
            assert process.stdout is not None
            for _ in range(3):  # then it is in the middle of the next
                assert process.stdout.readline() == "part\n"
            process.kill()
        export.refresh_from_db()
        assert export.state == ExportState.WRITING
        assert 3 <= export.parts_written < ROWS // 20
    with worker() as process:
        assert process.wait(timeout=200) == 0
    export.refresh_from_db()
    assert (export.state, export.rows) == (ExportState.READY, ROWS)
    data = b"".join(bytes(part.data) for part in ReceiptExportPart.objects.order_by("number"))
    assert len(data) == export.size_bytes
    found = [line.split(b'"')[3].decode() for line in gzip.decompress(data).splitlines()]
    assert found == list(Receipt.objects.order_by("-accepted_at", "-id").values_list("request_id", flat=True))
