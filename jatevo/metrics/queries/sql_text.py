"""Parts of SQL, put together."""

# The form in which jatevo.wire.names.normal_model compares models: lower case (A to Z alone, as `lower` does
# here), without the tag ":latest".
NORMAL_MODEL = "replaceRegexpOne(lower(model_id), '^(.+):latest$', '\\\\1')"


def joined(*parts: str) -> str:
    """Constant parts of SQL, as one statement; values go through parameters."""
    return " ".join(parts)
