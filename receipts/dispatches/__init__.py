"""What gateways report: which node they sent a request to, and whose answer they used."""
