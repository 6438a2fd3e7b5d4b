"""Django system checks of the settings of nodes."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

from nodes.ingress.networks import problem_with


@register()
def asn_database_can_be_read(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warns if JATEVO_ASN_DATABASE is not a readable ASN database. The console also runs without one."""
    problem = problem_with(settings.ASN_DATABASE) if settings.ASN_DATABASE else ""
    if not problem:
        return []
    return [
        Warning(
            f"{problem}.",
            hint="Set JATEVO_ASN_DATABASE to a MaxMind file such as GeoLite2-ASN.mmdb, or leave it empty.",
            id="nodes.W001",
        )
    ]
