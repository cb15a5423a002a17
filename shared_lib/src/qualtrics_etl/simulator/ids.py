"""Ids as the API gives them, drawn from a seed: the same seed and the same calls give the same ids."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Two letters at a time: an import of 10,000 contacts draws 20,000 ids.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_PATTERN = re.compile(r"([A-Z]+)_[0-9A-Za-z]{15}")


@dataclass(slots=True)
class Ids:
    """Draws ids; each prefix counts for itself, so that one kind of call does not shift the ids of another.

    Attributes:
        seed: What all ids are drawn from.
        drawn: How many ids of each prefix were drawn.
    """

    seed: int = 0
    drawn: dict[str, int] = field(default_factory=dict)

    def new(self, prefix: str) -> str:
        """Return the next id: prefix, underscore, 15 letters and digits.

        Source: Not documented as a rule; every published client expects this form.
        """
        number = int.from_bytes(self._digest(prefix)[:12])
        letters = []
        for _ in range(7):
            number, pair = divmod(number, 3844)
            letters.append(_PAIRS[pair])
        return f"{prefix}_{''.join(letters)}{_ALPHABET[number % 62]}"

    def request_id(self) -> str:
        """Return the next request id, a UUID."""
        return str(uuid.UUID(bytes=self._digest("request"), version=4))

    def secret(self) -> str:
        """Return the next access token."""
        return self._digest("token").hex() + self._digest("token").hex()

    def _digest(self, prefix: str) -> bytes:
        count = self.drawn[prefix] = self.drawn.get(prefix, 0) + 1
        return blake2b(f"{self.seed}/{prefix}/{count}".encode(), digest_size=16).digest()


def is_id(text: object, *prefixes: str) -> bool:
    """Whether `text` has the form of an id with one of these prefixes."""
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    return match is not None and match[1] in prefixes
