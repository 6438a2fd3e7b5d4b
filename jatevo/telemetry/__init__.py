"""What the console says about itself: traces over OTLP, and metrics for Prometheus.

Where the numbers are shown and what may be set is in docs/operations.md, and the reasons in
docs/decisions/0020-telemetry.md.
"""
