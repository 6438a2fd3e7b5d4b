"""URLs of the review queue."""

from django.urls import path, re_path

from earnings.review import views
from nodes.converters import NodeIdConverter, RequestIdConverter

RELEASE = (
    rf"^excluded/(?P<node_id>{NodeIdConverter.regex})/(?P<request_id>{RequestIdConverter.regex})/release/$"
)

app_name = "earnings_review"
urlpatterns = [
    path("", views.queue, name="queue"),
    path("decide/", views.decide_many, name="decide"),
    path("disputes/", views.disputes, name="disputes"),
    path("disputes/decide/", views.decide_dispute, name="decide_dispute"),
    re_path(RELEASE, views.release, name="release"),
]
