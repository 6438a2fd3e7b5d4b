"""A thousand agents from one process, at work on one console for minutes."""
