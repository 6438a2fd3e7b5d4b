from django.urls import path

from jatevo.docs import views

app_name = "docs"

urlpatterns = [
    path("docs/", views.page, {"slug": "index"}, name="home"),
    path("docs.md", views.markdown, {"slug": "index"}),
    path("docs/receipt.schema.json", views.receipt_schema, name="receipt_schema"),
    path("docs/search/", views.search, name="search"),
    path("docs/<path:slug>.md", views.markdown, name="markdown"),
    path("docs/<path:slug>/", views.page, name="page"),
    path("llms.txt", views.llms_txt, name="llms_txt"),
]
