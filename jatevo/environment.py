"""The environment as settings.py reads it: each variable `NAME` may instead be the content of the file `NAME_FILE`.

That is how Docker and Kubernetes hand over secrets. A file wins over a variable, and the line's end is no part of it.
"""

from collections.abc import MutableMapping
from urllib.parse import quote, urlsplit, urlunsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping


class EnvironmentOrFiles(FileAwareMapping):
    """`os.environ`, or another mapping, and the files that it names."""

    def __getitem__(self, name: str) -> str:
        try:
            return str(super().__getitem__(name)).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ImproperlyConfigured(
                f"{name}_FILE names {self.env[f'{name}_FILE']}, which cannot be read: {reason}."
            ) from error


class Environment(environ.Env):
    """Reads `variables`, by default those of the process."""

    def __init__(self, variables: MutableMapping[str, str] | None = None) -> None:
        super().__init__()
        self.ENVIRON = EnvironmentOrFiles(variables)

    def store_url(self, name: str, default: str) -> str:
        """The address of a store. If it has no password, `…_PASSWORD` gives one: DATABASE_PASSWORD for DATABASE_URL.

        So an address may be public while the password comes from a file. It may have any characters.
        """
        return _with_password(str(self.str(name, default=default)), self._password_of(name))

    def store_urls(self, name: str, default: str) -> str:
        """The same for the addresses of a cluster's servers, which are separated by commas."""
        urls = str(self.str(name, default=default)).split(",")
        return ",".join(_with_password(url.strip(), self._password_of(name)) for url in urls)

    def _password_of(self, name: str) -> str:
        return str(self.str(f"{name.removesuffix('_URL')}_PASSWORD", default=""))


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    if not (url and password) or parts.password:
        return url
    user, has_user, host = parts.netloc.rpartition("@")
    user = user.removesuffix(":") if has_user else ""
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))
