"""The networks that the console publishes."""

import ipaddress

from nodes.models import Sender


def published_networks(model: type[Sender]) -> list[str]:
    """The networks of the active validators or gateways, each once, IPv4 first."""
    listed = model._default_manager.filter(is_active=True).values_list("networks", flat=True)
    found = {ipaddress.ip_network(network) for networks in listed for network in networks}
    return [
        str(each)
        for each in sorted(
            found, key=lambda each: (each.version, each.network_address.packed, each.prefixlen)
        )
    ]
