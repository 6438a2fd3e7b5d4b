from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "jatevo.audit"
    label = "audit"
