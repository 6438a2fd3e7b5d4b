"""`python -m migration_checks`, with the database that DATABASE_URL names, of which nothing is changed."""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")
django.setup()

from migration_checks.checking import found  # noqa: E402 - the settings come first

lines = found()
print("\n".join(lines) or "The migrations disturb no running console.")
sys.exit(1 if lines else 0)
