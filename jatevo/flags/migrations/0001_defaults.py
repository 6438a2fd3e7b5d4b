"""One switch per flag of the registry, at its default."""

from django.db import migrations

DEFAULTS = {
    "enable_private_pools": False,
    "show_jtvo_estimates": True,
    "allow_anonymous_overview": True,
    "enable_signature_verify": True,
}


def add(apps, schema_editor):
    Switch = apps.get_model("waffle", "Switch")
    for name, active in DEFAULTS.items():
        Switch.objects.get_or_create(name=name, defaults={"active": active})


class Migration(migrations.Migration):
    dependencies = [("waffle", "0004_update_everyone_nullbooleanfield")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
