"""What nodes said before marks were kept, and an open finding for each node that is in quarantine for fraud."""

from django.db import migrations

from nodes.rules.marks import MarkKind, endpoint_mark, hardware_mark

BATCH = 1000


def marks_so_far(apps, schema_editor):
    Node, NodeMark = apps.get_model("nodes", "Node"), apps.get_model("nodes", "NodeMark")
    said = Node.objects.values_list("pk", "created_at", "endpoint", "attestation__hardware_hash")
    marks = (
        NodeMark(node_id=node_id, kind=kind, value=value, gained_at=since)
        for node_id, since, endpoint, hardware_hash in said.iterator()
        for kind, value in (
            (MarkKind.ENDPOINT.value, endpoint_mark(endpoint)),
            (MarkKind.HARDWARE.value, hardware_mark(hardware_hash or "")),
        )
        if value
    )
    NodeMark.objects.bulk_create(marks, batch_size=BATCH, ignore_conflicts=True)


def findings_so_far(apps, schema_editor):
    Node, FraudFinding = apps.get_model("nodes", "Node"), apps.get_model("nodes", "FraudFinding")
    FraudFinding.objects.bulk_create(
        FraudFinding(node=node, cause="receipt_forged", opened_at=node.status_since, opened_by="console")
        for node in Node.objects.filter(fraud=True)
    )


class Migration(migrations.Migration):
    dependencies = [("nodes", "0013_findings_of_fraud")]
    operations = [
        migrations.RunPython(marks_so_far, migrations.RunPython.noop),
        migrations.RunPython(findings_so_far, migrations.RunPython.noop),
    ]
