"""The library's wheel in the template, and everything that names it, agree with the library's sources."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.answers import CONFIG
from tests.conftest import ROOT, SLUG_FOLDER

TEMPLATE = ROOT / SLUG_FOLDER
LOCKS = (
    "requirements.txt",
    "requirements-sftp.txt",
    "requirements-dev.txt",
    "requirements-uv.txt",
    "requirements-emulator.txt",
    "requirements-scan.txt",
)
OF_LIBRARY = LOCKS[:3]


def wheel() -> Path:
    """Return the wheel in the template."""
    (found,) = (TEMPLATE / "vendor").glob("*.whl")
    return found


def test_wheel_is_built_from_these_sources(tmp_path: Path) -> None:
    """The wheel in the template is, byte for byte, what the library's sources give. Remedy: `make wheel`."""
    subprocess.run(
        [sys.executable, str(ROOT / "shared_lib" / "wheel_backend.py"), str(tmp_path)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (built,) = tmp_path.glob("*.whl")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (built, wheel())]
    assert (built.name, digests[0]) == (wheel().name, digests[1])


def test_version_is_the_same_everywhere() -> None:
    """The library, the wheel's name, the questions and all requirements name one version."""
    version = wheel().name.split("-")[1]
    library = tomllib.loads((ROOT / "shared_lib" / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    texts = [path.read_text(encoding="utf-8") for path in sorted(TEMPLATE.glob("requirements*"))]
    pins = [pin for text in texts for pin in re.findall(r"^qualtrics-etl\S*==(\S+)", text, re.MULTILINE)]
    assert re.fullmatch(re.escape(library) + r"\+g[0-9a-f]{12}", version)
    assert (CONFIG["_library_version"], pins) == (version, [version] * 2 * len(OF_LIBRARY))


@pytest.mark.parametrize("lock", OF_LIBRARY)
def test_lock_carries_the_hash_of_the_wheel(lock: str) -> None:
    """A lock accepts this wheel and no other of the same name."""
    digest = hashlib.sha256(wheel().read_bytes()).hexdigest()
    text = (TEMPLATE / lock).read_text(encoding="utf-8")
    assert re.findall(r"^qualtrics-etl==\S+ \\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE) == [
        f"    --hash=sha256:{digest}\n"
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_hashed(lock: str) -> None:
    """Every requirement of a lock names one version and the hashes of its files."""
    text = re.sub(
        r"^(#.*|    # .*|--find-links vendor)\n", "", (TEMPLATE / lock).read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    entry = (
        r"[a-z0-9-]+==[^\s;]+( ; [^\\\n]+)? \\\n(    --hash=sha256:[0-9a-f]{64} \\\n)*    --hash=sha256:[0-9a-f]{64}\n"
    )
    assert re.fullmatch(rf"\n*({entry})+", text)


def test_functions_get_what_was_tested() -> None:
    """What the functions run with has the same versions in every layer, and on a developer's machine."""
    base, sftp, dev = (
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (TEMPLATE / lock).read_text(encoding="utf-8"), re.MULTILINE))
        for lock in OF_LIBRARY
    )
    assert base.items() < sftp.items() <= dev.items()


def test_every_lock_is_pinned_and_resolved() -> None:
    """`make lock`, here and in a generated repository, knows every lock there is."""
    found = sorted(path.name for path in TEMPLATE.glob("requirements*.txt"))
    resolved = re.findall(r" -o (requirements\S*\.txt)$", (TEMPLATE / "Makefile").read_text(), re.MULTILINE)
    program = (ROOT / "shared_lib" / "pin_wheel.py").read_text(encoding="utf-8")
    pinned = [f"{name}.txt" for name in re.findall(r'^    "(requirements\S*)",$', program, re.MULTILINE)]
    assert (sorted(resolved), sorted(pinned), sorted(LOCKS)) == (found, found, found)
