"""The HTTP API of earnings, /v1/earnings."""
