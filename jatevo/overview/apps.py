from django.apps import AppConfig


class OverviewConfig(AppConfig):
    name = "jatevo.overview"
    label = "overview"
