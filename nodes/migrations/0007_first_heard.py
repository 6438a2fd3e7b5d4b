"""When nodes were first heard, from what is left of it: their history, their hours, their minutes.

A node's first transition says it (histories are kept for ever). Who has none, as one whose first heartbeat was
being counted, was heard in the oldest hour or minute on record; a heartbeat without any record came since
the node was registered.
"""

from django.db import migrations

_FILL = """
UPDATE nodes_node n SET first_heard_at = COALESCE(
    LEAST(
        (SELECT min(at) FROM nodes_nodetransition WHERE node_id = n.id AND reason = 'first_heartbeat'),
        (SELECT hour + interval '1 minute' * bit_count(((heard & -heard) - 1)::bit(64)) FROM nodes_nodehour
         WHERE node_id = n.id AND heard <> 0 ORDER BY hour LIMIT 1),
        (SELECT min(minute) FROM nodes_heartbeatminute WHERE node_id = n.id),
        n.beat_minute
    ),
    CASE WHEN n.last_heartbeat_at IS NOT NULL THEN n.created_at END
)
WHERE n.first_heard_at IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [("nodes", "0006_pardons_and_clock")]
    operations = [migrations.RunSQL(_FILL, migrations.RunSQL.noop)]
