"""PostgreSQL builds no index of a partitioned table concurrently, so each partition's comes first."""

from django.db import migrations

PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'receipts_receipt'::regclass"


def build(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(PARTITIONS)
        for (partition,) in cursor.fetchall():
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {partition}_by_model ON {partition} (model_id, ts_end)"
            )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("next_release", "0002_notes_of_nodes")]
    operations = [migrations.RunPython(build, migrations.RunPython.noop)]
