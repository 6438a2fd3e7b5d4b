"""Parts of SQL for several queries."""

# The form in which jatevo.wire.names.normal_model compares models: lower case (A to Z alone, as `lower` does
# here), without the tag ":latest".
NORMAL_MODEL = "replaceRegexpOne(lower(model_id), '^(.+):latest$', '\\\\1')"


def joined(*parts: str) -> str:
    """Joins constant parts of SQL to one statement. Values must be passed as parameters."""
    return " ".join(parts)
