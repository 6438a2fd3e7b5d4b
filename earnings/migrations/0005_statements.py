"""Statements keep the balances that they print, and organisations may want them by mail."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_user_time_zone"),
        ("earnings", "0003_totals"),
    ]

    operations = [
        migrations.AddField(
            model_name="statement",
            name="balances",
            field=models.JSONField(
                default=dict, help_text="opening and closing amounts by account, as printed"
            ),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="StatementPreference",
            fields=[
                (
                    "org",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="statement_preference",
                        serialize=False,
                        to="accounts.org",
                    ),
                ),
                ("by_mail", models.BooleanField()),
                ("set_at", models.DateTimeField()),
                ("set_by", models.CharField(max_length=320)),
            ],
        ),
    ]
