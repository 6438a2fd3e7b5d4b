"""URL converters. An impossible id is a 404 without a query. Importing this module registers them."""

from django.urls import register_converter
from django.urls.converters import StringConverter

from jatevo.wire.names import NODE_ID_PATTERN


class NodeIdConverter(StringConverter):
    """`<nodeid:…>`"""

    regex = NODE_ID_PATTERN


class RequestIdConverter(StringConverter):
    """`<requestid:…>`"""

    regex = r"[A-Za-z0-9._:~-]{1,128}"


register_converter(NodeIdConverter, "nodeid")
register_converter(RequestIdConverter, "requestid")
