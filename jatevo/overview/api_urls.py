from django.urls import path

from jatevo.overview import api

urlpatterns = [
    path("summary", api.summary, name="api-summary"),
    path("incidents", api.incidents, name="api-incidents"),
]
