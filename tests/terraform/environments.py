"""Environments beside the development one, each made when first needed and again when its lock changed."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT, SLUG_FOLDER

HERE = Path(__file__).parent
BUILD = ROOT / "build"


def terraform_python() -> Path:
    """Return the Python that has the AWS provider's description and gRPC."""
    return python_environment("terraform")


def python_environment(name: str) -> Path:
    """Return the Python of `.venv-<name>`, which holds exactly what `.locks/<name>.txt` names."""
    folder, lock = ROOT / f".venv-{name}", ROOT / ".locks" / f"{name}.txt"
    python = folder / "bin" / "python"
    with made_once(folder / ".lock-sha256", lock) as missing:
        if missing:
            uv = str(Path(sys.executable).with_name("uv"))
            if not python.exists():
                run(uv, "venv", "--quiet", str(folder), "--python", sys.executable)
            run(uv, "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(lock))
    return python


def aws_schema() -> Path:
    """Return the file with the AWS provider's schema, extracted once from the package that describes it."""
    python, extractor = terraform_python(), HERE / "schema_extract.py"
    schema = python.parents[1] / "aws-schema.json"
    with made_once(schema.with_suffix(".sha256"), extractor, ROOT / ".locks" / "terraform.txt") as missing:
        if missing:
            run(str(python), str(extractor), str(schema))
    return schema


def provider_settings() -> Path:
    """Return settings by which Terraform installs AWS provider 3.39 from this machine, and nothing from elsewhere.

    The provider is unpacked once: a link to it is then all that `terraform init` has to make.
    """
    python, mirror, settings = terraform_python(), BUILD / "terraform-3.39", BUILD / "terraform-3.39.rc"
    with made_once(BUILD / "terraform-3.39.sha256", ROOT / ".locks" / "terraform.txt") as missing:
        if missing:
            shutil.rmtree(mirror, ignore_errors=True)
            (archive,) = python.parents[1].glob("lib/python*/site-packages/**/terraform-provider-aws_3.39.0_*.zip")
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(mirror / "registry.terraform.io/hashicorp/aws/3.39.0/linux_amd64")
            for program in mirror.glob("**/terraform-provider-*"):
                program.chmod(0o755)
            source = f'filesystem_mirror {{\n    path = "{mirror}"\n  }}'
            settings.write_text(f"provider_installation {{\n  {source}\n}}\n")
    return settings


def node_modules() -> Path:
    """Return a `node_modules` that holds exactly what the template's package-lock.json names.

    It has the stamp of the generated Makefile, which would install it again otherwise.
    """
    sources = [ROOT / SLUG_FOLDER / name for name in ("package.json", "package-lock.json")]
    folder = BUILD / "node"
    with made_once(BUILD / "node.sha256", *sources) as missing:
        if missing:
            folder.mkdir(exist_ok=True)
            for source in sources:
                shutil.copy2(source, folder)
            run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=folder)
            stamp = "node_modules/.made-from-$(cksum < package-lock.json | cut -d' ' -f1)"
            run("bash", "-c", f'touch "{stamp}"', cwd=folder)
    return folder / "node_modules"


@contextmanager
def made_once(stamp: Path, *sources: Path) -> Iterator[bool]:
    """Tell whether what the stamp stands for has to be made from its sources; stamp it when that succeeded.

    Test processes that run side by side wait for the one that makes it.
    """
    BUILD.mkdir(exist_ok=True)
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    with (BUILD / f"{stamp.parent.name}-{stamp.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not stamp.exists() or stamp.read_text() != digest
        yield missing
        if missing:
            stamp.write_text(digest)


def run(*command: str, cwd: Path = ROOT) -> None:
    """Run a program; what it printed is part of the error when it fails."""
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"


def scanner_programs() -> Path:
    """Return the folder of the scanners' programs: exactly what the template's requirements-scan.txt names."""
    folder, lock = ROOT / ".venv-scan", ROOT / SLUG_FOLDER / "requirements-scan.txt"
    with made_once(folder / ".lock-sha256", lock) as missing:
        if missing:
            uv = str(Path(sys.executable).with_name("uv"))
            run(uv, "venv", "--quiet", "--clear", str(folder), "--python", sys.executable)
            run(uv, "pip", "sync", "--quiet", "--python", str(folder / "bin" / "python"), "--require-hashes", str(lock))
    return folder / "bin"
