"""Parts of SQL that several queries use."""

# The same form as jatevo.wire.names.normal_model: lower case (`lower` changes A to Z only), no ":latest".
NORMAL_MODEL = "replaceRegexpOne(lower(model_id), '^(.+):latest$', '\\\\1')"


def joined(*parts: str) -> str:
    """Joins constant parts of SQL with spaces. Values must be passed as parameters."""
    return " ".join(parts)
