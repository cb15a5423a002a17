"""Which names of a remote folder or an archive are taken, which are left out, and which are refused with a reason.

A listing is foreign input: a server or an archive may claim any name, and the name goes on into paths, logs and
receipts.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatchcase

from qualtrics_etl.errors import ConfigurationError

MAX_NAME_BYTES = 255  # what common file systems allow; a longer one is an attack or a broken server
DIRECTION_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class RefusedName:
    """A name in the folder that fits the pattern, and why its file is not taken.

    Attributes:
        name: The name as ASCII with escapes, cut to 300 characters: safe to show and to log.
        reason: What is wrong with it, as the end of the sentence "the name ...".
    """

    name: str
    reason: str


def refuse_name(name: str) -> RefusedName | None:
    """Say why a name can't be used; None when it can."""
    reason = _reason(name)
    return RefusedName(ascii(name)[1:-1][:300], reason) if reason else None


def check_pattern(pattern: str) -> None:
    """Check the setting `pattern`.

    Raises:
        ConfigurationError: It holds a slash.
    """
    if "/" in pattern:
        raise ConfigurationError(
            f"The setting `pattern` is {pattern!r}: it fits no file, since names hold no slash.",
            remedy="Put the folder into the setting `folder`.",
        )


def keep_name(name: str, pattern: str, *, marker_suffix: str = "") -> bool:
    """Tell whether a name is one that `pattern` asks for.

    Hidden names (a leading dot: what uploads leave behind) and marker files are left out, `.` and `..` always.

    Args:
        pattern: Shell pattern with `*`, `?` and `[...]`; upper and lower case differ.
        marker_suffix: End of the names of marker files; empty when the client writes none.
    """
    if name in {"", ".", ".."} or not fnmatchcase(name, pattern):
        return False
    if marker_suffix and name.endswith(marker_suffix):
        return False
    # "../x" begins with a dot too: it must reach refuse_name, and not be passed over in silence
    return not name.startswith(".") or "/" in name


def _reason(name: str) -> str:
    if "/" in name or "\\" in name:
        return "holds a path separator"
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return "is not UTF-8"
    if any(unicodedata.category(letter) in {"Cc", "Zl", "Zp"} for letter in name):
        return "holds control characters"
    if not DIRECTION_CONTROLS.isdisjoint(name):
        return "holds characters that turn the direction of text"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    return ""
