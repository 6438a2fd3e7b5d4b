"""URLs of the review queue."""

from django.urls import path

from earnings.review import views

app_name = "earnings_review"
urlpatterns = [
    path("", views.queue, name="queue"),
    path("decide/", views.decide_many, name="decide"),
    path("disputes/", views.disputes, name="disputes"),
    path("disputes/decide/", views.decide_dispute, name="decide_dispute"),
]
