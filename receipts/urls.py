"""URLs of the pages of receipts."""

from django.urls import path, re_path

from nodes.converters import NodeIdConverter, RequestIdConverter
from receipts import saved_view_pages, views
from receipts.exports import views as exports
from receipts.refused import views as refused_views
from receipts.search import pages

RECEIPT = rf"^(?P<node_id>{NodeIdConverter.regex})/(?P<request_id>{RequestIdConverter.regex})/$"

app_name = "receipts"
urlpatterns = [
    path("", views.list_receipts, name="list"),
    # node ids never contain a tilde
    path("~refused/", refused_views.list_refused, name="refused"),
    path("~refused/<uuid:refused_id>/", refused_views.detail, name="refused_detail"),
    path("~refused/<uuid:refused_id>/raw/", refused_views.raw, name="refused_raw"),
    path("~export/", exports.exports, name="export"),
    path("~export/<uuid:export_id>/file/", exports.download, name="export-download"),
    path("~export/<uuid:export_id>/remove/", exports.remove, name="export-remove"),
    re_path(r"^~export\.(?P<file_format>csv|jsonl)$", exports.stream, name="export-file"),
    path("~totals/", pages.totals, name="totals"),
    path("~file/", views.by_file, name="by_file"),
    path("~views/", saved_view_pages.keep, name="keep_view"),
    path("~views/<int:view_id>/", saved_view_pages.rename, name="rename_view"),
    path("~views/<int:view_id>/delete/", saved_view_pages.forget, name="forget_view"),
    re_path(RECEIPT, views.detail, name="detail"),
]
