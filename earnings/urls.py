"""URLs of the pages of earnings."""

from django.urls import path, re_path

from earnings.page import views
from nodes.converters import NodeIdConverter, RequestIdConverter

ITEM = rf"^receipts/(?P<node_id>{NodeIdConverter.regex})/(?P<request_id>{RequestIdConverter.regex})/$"

app_name = "earnings"
urlpatterns = [
    path("", views.home, name="home"),
    path("receipts/", views.receipts, name="receipts"),
    re_path(ITEM, views.item, name="item"),
]
