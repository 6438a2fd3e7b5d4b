"""Data apart from schema, in batches of their own transactions. Rows that a heartbeat holds come in the next round."""

from django.db import migrations

BATCH = """
WITH chosen AS (SELECT id FROM nodes_node WHERE note IS NULL ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED)
UPDATE nodes_node SET note = '' FROM chosen WHERE nodes_node.id = chosen.id
"""


def fill(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        left = True
        while left:
            cursor.execute(BATCH)
            cursor.execute("SELECT EXISTS (SELECT FROM nodes_node WHERE note IS NULL)")
            ((left,),) = cursor.fetchall()


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("next_release", "0004_index_of_receipts")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
