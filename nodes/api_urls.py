from django.urls import path

import nodes.converters  # noqa: F401 - installs <nodeid:…>
from nodes import api
from nodes.detail.self_report import self_report
from nodes.ingress import api as ingress

urlpatterns = [
    path("enrollments", api.enrollments, name="api-enrollments"),
    path("enrollments/<uuid:enrollment_id>", api.enrollment, name="api-enrollment"),
    path("nodes", api.node_list, name="api-nodes"),
    path("nodes/register", ingress.register, name="api-register"),
    path("nodes/heartbeat", ingress.heartbeat, name="api-heartbeat"),
    path("nodes/challenge", ingress.challenge, name="api-challenge"),
    path("nodes/self", self_report, name="api-node-self"),
    path("nodes/<nodeid:node_id>", api.node_detail, name="api-node"),
    path("nodes/<nodeid:node_id>/token", api.rotate_token, name="api-node-token"),
    path("nodes/<nodeid:node_id>/keys", ingress.add_key, name="api-node-keys"),
    path("probes", ingress.probes, name="api-probes"),
    path("validators/assignments", ingress.assignments, name="api-assignments"),
]
