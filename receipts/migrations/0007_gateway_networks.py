"""Where gateways ask from."""

import django.contrib.postgres.fields
from django.db import migrations, models

import nodes.models.network


class Migration(migrations.Migration):
    dependencies = [
        ("receipts", "0006_dispatches"),
    ]

    operations = [
        migrations.AddField(
            model_name="gateway",
            name="networks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=nodes.models.network.NetworkField(),
                blank=True,
                db_default=models.Value(
                    [],
                    output_field=django.contrib.postgres.fields.ArrayField(
                        base_field=nodes.models.network.NetworkField(), size=None
                    ),
                ),
                default=list,
                help_text="the addresses that it asks nodes from, such as 192.0.2.7/32, published for operators' firewalls",
                size=64,
            ),
        ),
    ]
