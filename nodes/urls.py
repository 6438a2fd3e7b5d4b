"""URLs of the pages of nodes."""

from django.urls import path, re_path

from nodes import views
from nodes.converters import NodeIdConverter

NODE = rf"^(?P<node_id>{NodeIdConverter.regex})/"

app_name = "nodes"
urlpatterns = [
    path("", views.list_nodes, name="list"),
    re_path(rf"{NODE}$", views.detail, name="detail"),
    re_path(rf"{NODE}quarantine/$", views.quarantine_node, name="quarantine"),
    re_path(rf"{NODE}clear/$", views.clear_node, name="clear"),
    re_path(rf"{NODE}token/$", views.rotate_node_token, name="rotate_token"),
]
