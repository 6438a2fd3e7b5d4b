"""The WSGI application that granian (services) and waitress (one machine) serve."""

import os
from importlib import import_module
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

from jatevo.web.framing import Framing
from jatevo.web.garbage import freeze_what_is_loaded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")


class Utf8Request(WSGIRequest):
    """A request that is read as UTF-8, whatever charset its Content-Type names.

    Django would use any of Python's codecs, even `base64`, and fail before the first middleware could answer.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        header = meta.get("CONTENT_TYPE", "")
        try:
            self.content_type, self.content_params = parse_header_parameters(header)
        except ValueError:
            # Remove the invalid parameters, so that code that reads the header later does not fail too.
            meta["CONTENT_TYPE"] = header.split(";", 1)[0]
            self.content_type, self.content_params = parse_header_parameters(meta["CONTENT_TYPE"])


class ConsoleHandler(WSGIHandler):
    request_class = Utf8Request


django.setup(set_prefix=False)
application = Framing(ConsoleHandler(), most_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
import_module(settings.ROOT_URLCONF)  # which Django would load with the first request
freeze_what_is_loaded()
