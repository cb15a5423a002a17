"""Builds the library's wheel into the template, and makes everything that names it agree.

    python shared_lib/pin_wheel.py              build, and rewrite version and hash where they stand
    python shared_lib/pin_wheel.py --resolve    the same, then resolve all requirements of the template again

The second form is needed when a dependency changed; it asks the package index, and `uv` must stand beside `python`.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import wheel_backend

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
QUESTIONS = ROOT / "cookiecutter.json"
# In this order: a lock takes the versions of those before it that its `.in` file names by `-c`.
LOCKS = (
    "requirements",
    "requirements-sftp",
    "requirements-dev",
    "requirements-uv",
    "requirements-emulator",
    "requirements-scan",
)
OF_LIBRARY = LOCKS[:3]
"""Those that hold the library, which is found in the template's own folder."""
PIN = re.compile(r"^(qualtrics-etl(?:\[[a-z,]+\])?==)[^\s\\]+", re.MULTILINE)
LOCKED_PIN = re.compile(r"^(qualtrics-etl==)\S+( \\\n    --hash=sha256:)[0-9a-f]{64}", re.MULTILINE)
LIBRARY_VERSION = re.compile(r'("_library_version": ")[^"]+')


def main(arguments: list[str]) -> None:
    """Build the wheel and pin it."""
    wheel_backend.main(str(TEMPLATE / "vendor"))
    version, sha256 = built_wheel()
    for name in LOCKS:
        rewrite(TEMPLATE / f"{name}.in", PIN, rf"\g<1>{version}")
        rewrite(TEMPLATE / f"{name}.txt", LOCKED_PIN, rf"\g<1>{version}\g<2>{sha256}")
    rewrite(QUESTIONS, LIBRARY_VERSION, rf"\g<1>{version}")
    if arguments == ["--resolve"]:
        for name in LOCKS:
            resolve(name)


def built_wheel() -> tuple[str, str]:
    """Return version and SHA-256 of the wheel in the template."""
    (wheel,) = (TEMPLATE / "vendor").glob("qualtrics_etl-*.whl")
    return wheel.name.split("-")[1], hashlib.sha256(wheel.read_bytes()).hexdigest()


def rewrite(path: Path, pattern: re.Pattern[str], replacement: str) -> None:
    """Replace a pattern in a file; the file is left alone, time stamp and all, when nothing changes."""
    if path.exists():
        old = path.read_text(encoding="utf-8")
        new = pattern.sub(replacement, old)
        if new != old:
            path.write_text(new, encoding="utf-8", newline="\n")


def resolve(name: str) -> None:
    """Resolve one `.in` file of the template into its lock, as `make lock` of a generated repository does."""
    options = "--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header"
    links = ["--emit-find-links"] if name in OF_LIBRARY else []
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "pip", "compile", *options.split(), *links, f"{name}.in", "-o", f"{name}.txt"]
    subprocess.run(command, cwd=TEMPLATE, check=True)  # noqa: S603 (arguments are constants of this file)


if __name__ == "__main__":
    main(sys.argv[1:])
