"""The machines' half of the API: signed requests of agents and validators."""
