from django.apps import AppConfig


class FlagsConfig(AppConfig):
    name = "jatevo.flags"
    label = "flags"
