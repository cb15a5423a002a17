"""Lock files: which packages a layer holds.

A lock is what `uv pip compile --generate-hashes` writes: one block a package, `name==version` and the hashes of its
files. `requirements.txt` is the base layer's; `requirements-<extra>.txt` is that of the layer `<extra>`, which holds
only what the base does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qualtrics_etl.errors import ConfigurationError

BASE = "base"
LIBRARY = "qualtrics-etl"
VENDOR = "vendor"

_BLOCK = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)[^\n]*\n(?:    --hash=\S+(?: \\)?\n)*", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_RESOLVE = "`make lock` resolves it again."


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock.

    Attributes:
        text: Its block, as it stands in the lock: version, marker, hashes.
    """

    name: str
    version: str
    text: str

    @property
    def hashes(self) -> frozenset[str]:
        """SHA-256 of each file that may be installed, in hex."""
        return frozenset(_HASH.findall(self.text))


Lock = Mapping[str, Pin]
"""Packages by name."""


def lock_name(layer: str) -> str:
    """Return the name of the lock of a layer."""
    return "requirements.txt" if layer == BASE else f"requirements-{layer}.txt"


def read_lock(root: Path, layer: str) -> Lock:
    """Read the lock of a layer.

    Raises:
        ConfigurationError: There is none, or it names no package.
    """
    path = root / lock_name(layer)
    if not path.is_file():
        raise ConfigurationError(
            f"{path.name} does not exist, and serverless.yml has a layer `{layer}`.",
            remedy=f"Write {path.stem}.in and run `make lock`, or take the layer out of serverless.yml.",
        )
    pins = {match[1]: Pin(match[1], match[2], match[0]) for match in _BLOCK.finditer(path.read_text(encoding="utf-8"))}
    if not pins:
        raise ConfigurationError(f"{path.name} names no package.", remedy=_RESOLVE)
    return pins


def beyond_base(layer: str, lock: Lock, base: Lock) -> Lock:
    """Return what a layer's lock has and the base's does not.

    Raises:
        ConfigurationError: The two locks give one package two versions: a function would get whichever comes first.
    """
    for name in sorted(lock.keys() & base.keys()):
        if lock[name].version != base[name].version:
            raise ConfigurationError(
                f"{lock_name(layer)} pins {name} to {lock[name].version}, and {lock_name(BASE)} to"
                f" {base[name].version}. A function has one of each.",
                remedy=f"Write `-c {lock_name(BASE)}` into {Path(lock_name(layer)).stem}.in and run `make lock`.",
            )
    return {name: pin for name, pin in lock.items() if name not in base}


def library_version(root: Path, base: Lock) -> str:
    """Return the version of the library that the base layer holds, whose wheel must be the one that was locked.

    Raises:
        ConfigurationError: The lock has no library, or its wheel is not in vendor/, or is another than was locked.
    """
    if LIBRARY not in base:
        raise ConfigurationError(f"{lock_name(BASE)} has no {LIBRARY}, which every function needs.", remedy=_RESOLVE)
    pin = base[LIBRARY]
    wheel = root / VENDOR / f"{LIBRARY.replace('-', '_')}-{pin.version}-py3-none-any.whl"
    if not wheel.is_file():
        raise ConfigurationError(
            f"{VENDOR}/{wheel.name} does not exist, and {lock_name(BASE)} pins it.",
            remedy=f"`git checkout {VENDOR} requirements*` brings both back to where they agreed.",
        )
    if hashlib.sha256(wheel.read_bytes()).hexdigest() not in pin.hashes:
        raise ConfigurationError(
            f"{VENDOR}/{wheel.name} is not the file that {lock_name(BASE)} pins: its hash is another.",
            remedy=f"`git checkout {VENDOR} requirements*` brings both back; after a wanted change, `make lock`.",
        )
    return pin.version
