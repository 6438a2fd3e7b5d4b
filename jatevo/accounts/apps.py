from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "jatevo.accounts"
    label = "accounts"

    def ready(self) -> None:
        import_module("jatevo.accounts.openapi")  # drf-spectacular finds it by its being imported
