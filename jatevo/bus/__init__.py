"""The event bus: what machines post may also come from NATS JetStream (docs/decisions/0021-event-bus.md).

Only consuming.py and stream.py, which `manage.py consume` runs, load NATS's client.
"""
