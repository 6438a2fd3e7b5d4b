"""URLs of the pages of receipts."""

from django.urls import path, re_path

from nodes.converters import NodeIdConverter, RequestIdConverter
from receipts import views

RECEIPT = rf"^(?P<node_id>{NodeIdConverter.regex})/(?P<request_id>{RequestIdConverter.regex})/$"

app_name = "receipts"
urlpatterns = [
    path("", views.list_receipts, name="list"),
    re_path(RECEIPT, views.detail, name="detail"),
]
