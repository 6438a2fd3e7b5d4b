from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "jatevo.accounts"
    label = "accounts"
