"""An index by which a receipt is found by the SHA-256 of its bytes.

On the table of identities, which is not partitioned and has the small rows. Concurrently, so that nodes go on
posting meanwhile.
"""

from django.contrib.postgres.indexes import HashIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("receipts", "0010_exports")]
    operations = [
        AddIndexConcurrently(
            model_name="receiptidentity",
            index=HashIndex(fields=["sha256"], name="receipt_identity_sha256"),
        ),
    ]
