"""Builds the library's wheel, byte for byte the same from the same sources.

A PEP 517 backend of its own, on the standard library alone, because three things matter here that the common backends
do not promise together: the same bytes on every machine (the generated repositories pin the wheel by hash), members
stored uncompressed (git then keeps only what changed between two releases), and a version that names its sources.

    python shared_lib/wheel_backend.py FOLDER     write the wheel into FOLDER, print its name and SHA-256
"""

from __future__ import annotations

import base64
import hashlib
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
PACKAGE = "qualtrics_etl"
# The earliest time a zip can hold: any other would differ between two checkouts.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)


def project() -> dict[str, Any]:
    """Return the `[project]` table of the library."""
    table: dict[str, Any] = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def source_files() -> list[tuple[str, bytes]]:
    """Return (path inside the wheel, content) of every file of the package, sorted by path."""
    paths = [p for p in (SOURCES / PACKAGE).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return sorted((path.relative_to(SOURCES).as_posix(), path.read_bytes()) for path in paths)


def wheel_version() -> str:
    """Return the version with `+g` and 12 hex digits of the hash of what the wheel is made from."""
    digest = hashlib.sha256((HERE / "pyproject.toml").read_bytes())
    for name, content in source_files():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"{project()['version']}+g{digest.hexdigest()[:12]}"


def metadata(version: str) -> str:
    """Return the METADATA file (core metadata 2.4)."""
    table = project()
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {table['name']}",
        f"Version: {version}",
        f"Summary: {table['description']}",
        f"License-Expression: {table['license']}",
        f"Requires-Python: {table['requires-python']}",
        *[f"Requires-Dist: {requirement}" for requirement in table["dependencies"]],
    ]
    for extra, requirements in sorted(table["optional-dependencies"].items()):
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {requirement} ; extra == "{extra}"' for requirement in requirements]
    return "\n".join(lines) + "\n"


def _write(folder: Path, version: str, members: list[tuple[str, bytes]]) -> str:
    name = project()["name"].replace("-", "_")
    info = f"{name}-{version}.dist-info"
    scripts = "".join(f"{command} = {target}\n" for command, target in sorted(project()["scripts"].items()))
    members = [
        *members,
        (f"{info}/METADATA", metadata(version).encode()),
        (f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: wheel_backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        (f"{info}/entry_points.txt", f"[console_scripts]\n{scripts}".encode()),
    ]
    record = "".join(f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in members)
    members.append((f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode()))
    file_name = f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / file_name, "w", zipfile.ZIP_STORED) as archive:
        for path, content in members:
            member = zipfile.ZipInfo(path, TIMESTAMP)
            member.external_attr = 0o644 << 16
            member.create_system = 3
            archive.writestr(member, content)
    return file_name


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Write the wheel (the PEP 517 hook)."""
    return _write(Path(wheel_directory), wheel_version(), source_files())


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Write a wheel that points at the sources (the PEP 660 hook)."""
    pointer = [(f"{PACKAGE}_editable.pth", f"{SOURCES}\n".encode())]
    return _write(Path(wheel_directory), str(project()["version"]), pointer)


def main(folder: str) -> None:
    """Write the wheel into `folder` in the place of older ones, and print its name and hash."""
    target = Path(folder)
    for old in target.glob("qualtrics_etl-*.whl"):
        old.unlink()
    name = build_wheel(folder)
    sys.stdout.write(f"{name} sha256:{hashlib.sha256((target / name).read_bytes()).hexdigest()}\n")


if __name__ == "__main__":
    main(sys.argv[1])
