"""What of an answer has reached the client so far. Only this goes into the receipt."""

from __future__ import annotations

from blake3 import blake3

from .answers import Said, Usage


class Delivered:
    """Adds up what was written to the client's socket. The text is kept in memory until the receipt is signed."""

    def __init__(self) -> None:
        self.pieces = 0
        """How many chunks had output. A runtime sends at least one token in each."""
        self.finishes: dict[int, str] = {}
        self.usage: Usage | None = None
        self._texts: dict[int, list[str]] = {}
        self._hasher = blake3()
        self._hashed_all = True

    def add(self, said: Said) -> None:
        """Add what was delivered."""
        self.pieces += said.generated
        for index, text in said.texts.items():
            self._texts.setdefault(index, []).append(text)
            self._hash(text)
        self.finishes.update(said.finishes)
        self.usage = said.usage or self.usage

    @property
    def text(self) -> str:
        """The text of all choices, in the order of their index."""
        return "".join("".join(self._texts[index]) for index in sorted(self._texts))

    @property
    def text_blake3(self) -> str:
        """The BLAKE3 digest of the text's UTF-8 bytes, as 64 lower-case hex digits."""
        hasher = self._hasher if self._hashed_all else blake3(_utf8(self.text))
        return str(hasher.hexdigest())

    @property
    def text_blake3_so_far(self) -> str | None:
        """`text_blake3`, if the pieces were hashed as they came. None if all text would have to be hashed again."""
        return str(self._hasher.hexdigest()) if self._hashed_all else None

    def _hash(self, text: str) -> None:
        """Hash a piece as it comes, unless the order of the choices or a broken character forbids it."""
        try:
            self._hasher.update(text.encode())
        except UnicodeEncodeError:
            self._hashed_all = False
        if len(self._texts) > 1:
            self._hashed_all = False


def _utf8(text: str) -> bytes:
    """UTF-8 bytes. The halves of a surrogate pair are joined; one that is alone becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
