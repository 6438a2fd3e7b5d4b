from django.apps import AppConfig


class NodesConfig(AppConfig):
    name = "nodes"

    def ready(self) -> None:
        from nodes.ingress import checks

        self.checks = checks  # importing the module registers its checks
