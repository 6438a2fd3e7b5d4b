"""The ingress lane: what machines post most, beside the console's WSGI processes.

    python -m jatevo.lane --port 8001

The proxy sends it POST /v1/nodes/heartbeat, /v1/nodes/challenge, /v1/receipts, /v1/probes and /v1/dispatches. Requests
that come at the same time are answered together, and Django's HTTP handler is not asked.
"""
