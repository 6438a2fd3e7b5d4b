"""URLs of the pages of nodes."""

from django.urls import path, re_path

from nodes import list_views, views
from nodes.converters import NodeIdConverter

NODE = rf"^(?P<node_id>{NodeIdConverter.regex})/"

app_name = "nodes"
urlpatterns = [
    path("", list_views.list_nodes, name="list"),
    # a tilde is in no node's id
    path("~export.csv", list_views.export_nodes, name="export"),
    path("~many/", list_views.moderate_many, name="moderate_many"),
    path("~views/", list_views.keep_view, name="keep_view"),
    path("~views/<int:view_id>/delete/", list_views.forget_view, name="forget_view"),
    re_path(rf"{NODE}$", views.detail, name="detail"),
    re_path(rf"{NODE}quarantine/$", views.quarantine_node, name="quarantine"),
    re_path(rf"{NODE}clear/$", views.clear_node, name="clear"),
    re_path(rf"{NODE}token/$", views.rotate_node_token, name="rotate_token"),
]
