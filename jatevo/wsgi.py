"""The WSGI application that granian (services) and waitress (one machine) serve."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")

application = get_wsgi_application()
