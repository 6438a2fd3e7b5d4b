"""The rules about nodes: pure functions of values, without Django, a clock or a database."""
