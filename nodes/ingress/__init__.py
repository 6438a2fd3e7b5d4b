"""The API for machines: signed requests of agents and validators."""
