from importlib import import_module

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class AccountsConfig(AppConfig):
    name = "jatevo.accounts"
    label = "accounts"

    def ready(self) -> None:
        autodiscover_modules("endings")
        import_module("jatevo.accounts.openapi")  # importing it registers the scheme with drf-spectacular
