"""Routes of earnings below /v1/."""

from django.urls import path

import nodes.converters  # noqa: F401 - installs <nodeid:…>
from earnings.api import views

urlpatterns = [
    path("earnings", views.earnings, name="api-earnings"),
    path("earnings/<nodeid:node_id>", views.earnings_of_node, name="api-earnings-of-node"),
]
