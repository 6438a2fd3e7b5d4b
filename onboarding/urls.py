"""URLs of Run a Node."""

from django.urls import path

import nodes.converters  # noqa: F401 - makes <nodeid:> known
from onboarding import views

app_name = "onboarding"
urlpatterns = [
    path("", views.start, name="start"),
    path("nodes/<nodeid:node_id>/agent.yaml", views.node_config, name="node_config"),
    path("<uuid:enrollment_id>/", views.enrollment, name="enrollment"),
    path("<uuid:enrollment_id>/agent.yaml", views.config_file, name="config"),
    path("<uuid:enrollment_id>/revoke", views.revoke, name="revoke"),
    path("<uuid:enrollment_id>/prove", views.prove, name="prove"),
    path("<uuid:enrollment_id>/renew", views.renew, name="renew"),
]
