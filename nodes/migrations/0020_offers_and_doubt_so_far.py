"""Nodes offer what they offer from now on; earlier times are unknown. Findings doubt from when they were opened."""

from django.db import migrations

_OFFERS = r"""
INSERT INTO nodes_nodeoffer (node_id, model, offered_from)
SELECT DISTINCT n.id, regexp_replace(lower(offered.name COLLATE "C"), '(.):latest$', '\1'), now()
FROM nodes_node n CROSS JOIN unnest(n.models_offered) AS offered (name)
ON CONFLICT DO NOTHING
"""
_DOUBT = "UPDATE nodes_fraudfinding SET doubtful_from = opened_at WHERE doubtful_from IS NULL"


class Migration(migrations.Migration):
    dependencies = [("nodes", "0019_offers_and_doubt")]

    operations = [
        migrations.RunSQL(_OFFERS, "DELETE FROM nodes_nodeoffer"),
        migrations.RunSQL(_DOUBT, migrations.RunSQL.noop),
    ]
