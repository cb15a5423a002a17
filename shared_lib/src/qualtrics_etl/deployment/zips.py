"""Zip files that are the same bytes whenever their content is, and the hashes that tell.

The same bytes matter twice: `sls` deploys only what changed, and what was tested can be recognised later. They hold on
machines whose Python compresses with the same zlib.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

# The earliest time that a zip can hold: any other would differ between two builds.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
_UNIX = 3
_LEVEL = 9


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write files into a zip: sorted by path, all of one time and mode, compressed alike."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name in sorted(members):
            member = zipfile.ZipInfo(name, _TIME)
            member.create_system = _UNIX
            member.external_attr = _MODE << 16
            archive.writestr(member, members[name], zipfile.ZIP_DEFLATED, _LEVEL)


def unzipped_bytes(path: Path) -> int:
    """Return how large a zip's content is."""
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
