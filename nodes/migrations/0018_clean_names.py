"""Names that agents supplied before there was one rule for them, and zeros that meant "unknown".

A model whose name breaks the rule is left out, as in a heartbeat; other texts become unknown. The reference
agent told 0 for the use and the memory of a GPU wherever it found no NVIDIA card, as on every Mac; it named
no driver then, which is how those zeros are told from real ones.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from jatevo.wire.names import distinct_models, name_problem, shows_plainly

_ON_NODE = ("agent_version", "wallet_chain", "wallet_address")
_ON_HARDWARE = ("gpu_model", "driver_version", "cuda_version", "hardware_hash")

_UNKNOWN_USE = """
UPDATE nodes_node n SET last_metrics = n.last_metrics - 'gpu_util'
FROM nodes_nodeattestation a
WHERE a.node_id = n.id AND a.driver_version = '' AND n.last_metrics -> 'gpu_util' = '0'::jsonb
"""
_UNKNOWN_MEMORY = "UPDATE nodes_nodeattestation SET vram_gb = NULL WHERE vram_gb = 0 AND driver_version = ''"


def clean(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    nodes = apps.get_model("nodes", "Node").objects
    for node in nodes.only("models_offered", "last_metrics", *_ON_NODE).iterator():
        changed = _emptied(node, _ON_NODE)
        models = list(distinct_models(name for name in node.models_offered if name_problem(name) is None))
        if models != node.models_offered:
            changed["models_offered"] = models
        metrics = {name: value for name, value in node.last_metrics.items() if _fit(name, value)}
        if metrics != node.last_metrics:
            changed["last_metrics"] = metrics
        if changed:
            nodes.filter(pk=node.pk).update(**changed)
    hardware = apps.get_model("nodes", "NodeAttestation").objects
    for attestation in hardware.only(*_ON_HARDWARE).iterator():
        if changed := _emptied(attestation, _ON_HARDWARE):
            hardware.filter(pk=attestation.pk).update(**changed)


def _emptied(row: object, fields: tuple[str, ...]) -> dict[str, object]:
    return {name: "" for name in fields if getattr(row, name) and name_problem(getattr(row, name))}


def _fit(name: str, value: object) -> bool:
    return name_problem(name) is None and (not isinstance(value, str) or shows_plainly(value))


class Migration(migrations.Migration):
    dependencies = [("nodes", "0017_statements")]
    operations = [
        migrations.RunPython(clean, migrations.RunPython.noop),
        migrations.RunSQL(_UNKNOWN_USE, migrations.RunSQL.noop),
        migrations.RunSQL(_UNKNOWN_MEMORY, migrations.RunSQL.noop),
    ]
