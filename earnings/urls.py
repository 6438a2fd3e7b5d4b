"""URLs of the pages of earnings."""

from django.urls import path, re_path

from earnings.exports import views as exports
from earnings.exports.tables import What
from earnings.page import views, wallet_views
from earnings.statements import views as statements
from nodes.converters import NodeIdConverter, RequestIdConverter

ITEM = rf"^receipts/(?P<node_id>{NodeIdConverter.regex})/(?P<request_id>{RequestIdConverter.regex})/$"
EXPORT = rf"^export/(?P<what>{'|'.join(What)})\.(?P<file_format>csv|jsonl)$"
MONTH = r"(?P<month>[0-9]{4}-[0-9]{2})"

app_name = "earnings"
urlpatterns = [
    path("", views.home, name="home"),
    path("receipts/", views.receipts, name="receipts"),
    re_path(ITEM, views.item, name="item"),
    path("export/", exports.choose, name="export"),
    re_path(EXPORT, exports.file, name="export-file"),
    path("wallet/", wallet_views.wallet, name="wallet"),
    path("wallet/<int:wallet_id>/confirm/", wallet_views.confirm_wallet, name="confirm_wallet"),
    path("wallet/<int:wallet_id>/stop/", wallet_views.stop_change, name="stop_wallet"),
    path("statements/", statements.list_statements, name="statements"),
    path("statements/by-mail/", statements.by_mail, name="statements-by-mail"),
    re_path(rf"^statements/{MONTH}/$", statements.document, name="statement"),
    re_path(rf"^statements/{MONTH}/make/$", statements.make, name="statement-make"),
]
