from django.urls import path

from jatevo.overview import feed_views, status_views, views

app_name = "overview"

urlpatterns = [
    path("", views.home, name="home"),
    path("status/", status_views.status, name="status"),
    path("status/availability/", status_views.availability, name="status_availability"),
    path("status/history/", status_views.archive, name="status_archive"),
    path("status/incidents/<int:incident_id>/", status_views.incident, name="incident"),
    path("status/feed.atom", feed_views.IncidentFeed(), name="status_feed"),
    path("status/feed.rss", feed_views.IncidentRss(), name="status_rss"),
]
