"""A public key is one node's for ever. Keys that several nodes have already are flagged, never lost.

The first holder keeps the key as it is; the others' rows are marked as duplicates, with an audit event each, for
admins to look into. The lock keeps a key from slipping in between; the table has one row per key ever made, so that
all of it takes moments.
"""

import base64

from django.db import migrations, models

FLAG = """
UPDATE nodes_nodekey k SET duplicate = true
FROM nodes_node n
WHERE n.id = k.node_id AND EXISTS (
    SELECT FROM nodes_nodekey first
    WHERE first.public_key = k.public_key
      AND (first.valid_from, first.id) < (k.valid_from, k.id))
RETURNING k.node_id, n.org_id, k.public_key,
    (SELECT f.node_id FROM nodes_nodekey f WHERE f.public_key = k.public_key ORDER BY f.valid_from, f.id LIMIT 1)
"""


def flag_duplicates(apps, schema_editor):
    AuditEvent = apps.get_model("audit", "AuditEvent")
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("LOCK TABLE nodes_nodekey IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(FLAG)
        flagged = cursor.fetchall()
    AuditEvent.objects.bulk_create(
        AuditEvent(
            actor_kind="system",
            actor_id="console",
            org_id=org_id,
            verb="node.key_duplicate",
            subject_kind="node",
            subject_id=node_id,
            details={
                "public_key": "ed25519:" + base64.b64encode(bytes(public_key)).decode(),
                "first_held_by": holder,
            },
        )
        for node_id, org_id, public_key, holder in flagged
    )


class Migration(migrations.Migration):
    dependencies = [("nodes", "0011_false_answers"), ("audit", "0002_append_only")]
    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="nodekey",
            name="duplicate",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.RunPython(flag_duplicates, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="nodekey",
            constraint=models.UniqueConstraint(
                condition=models.Q(("duplicate", False)), fields=("public_key",), name="node_key_of_one_node"
            ),
        ),
    ]
