from django.urls import path

from jatevo.overview import views

app_name = "overview"

urlpatterns = [
    path("", views.home, name="home"),
]
