"""URLs of the pages of nodes."""

from django.urls import path, re_path

from nodes.converters import NodeIdConverter
from nodes.detail import manage_views, views
from nodes.list import views as list_views

# an id, or a pseudonym for people who may not know the id
NODE = rf"^(?P<name>{NodeIdConverter.regex})/"

app_name = "nodes"
urlpatterns = [
    path("", list_views.list_nodes, name="list"),
    # node ids never contain a tilde
    path("~export.csv", list_views.export_nodes, name="export"),
    path("~many/", list_views.moderate_many, name="moderate_many"),
    path("~views/", list_views.keep_view, name="keep_view"),
    path("~views/<int:view_id>/delete/", list_views.forget_view, name="forget_view"),
    re_path(rf"{NODE}$", views.detail, name="detail"),
    re_path(rf"{NODE}quarantine/$", manage_views.quarantine_node, name="quarantine"),
    re_path(rf"{NODE}clear/$", manage_views.clear_node, name="clear"),
    re_path(rf"{NODE}fraud/$", manage_views.fraud_of_node, name="fraud"),
    re_path(rf"{NODE}token/$", manage_views.rotate_node_token, name="rotate_token"),
    re_path(rf"{NODE}maintenance/$", manage_views.maintain_node, name="maintenance"),
    re_path(rf"{NODE}maintenance/end/$", manage_views.end_node_maintenance, name="end_maintenance"),
    re_path(rf"{NODE}sharing/$", manage_views.share_node, name="sharing"),
    re_path(rf"{NODE}reputation/$", manage_views.recompute_node_reputation, name="recompute_reputation"),
]
