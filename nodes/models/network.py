"""A network such as 192.0.2.0/24, in PostgreSQL's type `cidr`."""

import ipaddress
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models

# A network that is larger than this would let in a good part of the internet.
SHORTEST_PREFIX = {4: 8, 6: 20}


if TYPE_CHECKING:
    _TextField = models.Field[str, str]
else:
    _TextField = models.Field


class NetworkField(_TextField):
    """The network as text. The database refuses what is none, and one with bits set beyond its prefix."""

    description = "a network, such as 192.0.2.0/24"

    def db_type(self, connection: Any) -> str:
        return "cidr"

    def from_db_value(self, value: Any, *args: Any) -> str | None:
        return None if value is None else str(value)

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": NetworkFormField, **kwargs})


class NetworkFormField(forms.CharField):
    """A network in a form, in its normal form. A single address is a network of its own."""

    def to_python(self, value: Any) -> str:
        text = super().to_python(value) or ""
        return network_text(text) if text else ""


def network_text(text: str) -> str:
    """The network in its normal form. Raises ValidationError for what is none or is too large."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValidationError(f"{text[:64]} is not a network. Write it as in 192.0.2.0/24.") from error
    shortest = SHORTEST_PREFIX[network.version]
    if network.prefixlen < shortest:
        raise ValidationError(f"{text} is too large. The shortest prefix is /{shortest}.")
    return str(network)
