"""What gateways and operators read to find each other: the nodes to send requests to, and the published networks."""
