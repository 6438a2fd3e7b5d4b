from django.apps import AppConfig


class DocsConfig(AppConfig):
    name = "jatevo.docs"
    label = "docs"
