"""Layers: the packages that functions share, made from a lock without Docker.

uv fetches wheels made for the functions' Python and architecture, whatever this machine is; nothing is built from
source. What no function reads is left out, since each byte is loaded at a cold start, and the rest lies in `python/`,
where Lambda looks for it (AWS Lambda developer guide, packaging layers).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qualtrics_etl.deployment import zips
from qualtrics_etl.deployment.locks import VENDOR, Lock, lock_name
from qualtrics_etl.deployment.target import Python, Target
from qualtrics_etl.errors import ConfigurationError

IN_ZIP = "python"
ON_LAMBDA = "/opt"
"""Where Lambda unpacks layers; tracebacks name files by it."""

# What no function reads, by path inside the layer, and why.
_LEFT_OUT = (
    r"bin/.*",  # commands: a function starts none
    r"\.lock",  # the installer's own
    r"(.*/)?__pycache__/.*",  # whatever came along; .pyc files are made here
    r"[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_cache\.json|entry_points\.txt)",
    r"[^/]+\.dist-info/sboms/.*",  # lists for scanners, which read the lock instead
    r"(.*/)?tests?/.*",  # tests of packages
    r".*\.(pyi|pxd|pyx|c|h|cpp|hpp|rs)|(.*/)?py\.typed",  # for type checkers and compilers
    r"pydantic/mypy\.py",  # a plug-in of a type checker
    r"(charset_normalizer|idna)/cli(/.*|\.py)|urllib3/contrib/emscripten/.*",  # commands; for a Python in a browser
    # Compiled twins of modules that do the same in Python: of the layer a fifth, for YAML files of one page, and for
    # guessing the encoding of answers that are JSON.
    r"yaml/_yaml\.[^/]*\.so|_yaml/.*|charset_normalizer/(md|cd)\.[^/]*\.so|[^/]*__mypyc\.[^/]*\.so",
    # Rooms of the library for a developer's machine: what functions enter by never imports them (the order of rooms is
    # checked), and they need packages that no layer has.
    r"qualtrics_etl/(cli|deployment|local|simulator|testing)/.*|qualtrics_etl/__main__\.py",
    # What only commands ask of a run and of AWS. A test sees to it that nothing which stays imports what goes.
    r"qualtrics_etl/(receipt|runs|status|summary|steps/(resending|waivers))\.py",
    r"qualtrics_etl/aws/(access|account|buckets|erasure|functions|http_api|inventory)\.py",
    r"qualtrics_etl/aws/(logs|oidc|parameters|redrive|stacks|takeover)\.py",
    r"pydantic/v1/.*",  # the last major version's interface, which is on its way out
)
LEFT_OUT = re.compile("|".join(_LEFT_OUT))
# What no step imports stays as source, for a handler that does, and is not compiled.
NOT_COMPILED = r"/pydantic/(deprecated|experimental)/|/urllib3/(contrib|http2)/|/idna/uts46data"
CACHE = "cache"

Say = Callable[[str], None]
"""Takes a line of progress."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer to be made.

    Attributes:
        name: As in serverless.yml.
        pins: What it holds.
    """

    name: str
    pins: Lock

    @property
    def requirements(self) -> str:
        """Its part of the lock, as a requirements file."""
        return "".join(pin.text for pin in self.pins.values())


def make_layer(root: Path, layer: Layer, target: Target, environment: Mapping[str, str], say: Say) -> Path:
    """Return a layer's zip: made now, or kept since what it is made from last changed.

    Raises:
        ConfigurationError: uv is missing, a package has no wheel for the target, or one is not what was locked.
    """
    folder = root / "build" / CACHE
    kept = folder / f"{target.name}-{layer.name}-{_key(layer, target)}.zip"
    if kept.is_file():
        return kept
    say(f"Making layer {layer.name}: {len(layer.pins)} packages for {target.architecture}, Python {target.python} ...")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="new-") as work:
        installed = Path(work, IN_ZIP)
        _install(root, layer, target, environment, installed)
        _leave_out(installed)
        if target.compiler:
            _compile(target.compiler, installed)
        made = Path(work, "layer.zip")
        zips.write_zip(made, dict(_members(installed)))
        _forget_older(folder, target, layer)
        made.replace(kept)
    return kept


def _key(layer: Layer, target: Target) -> str:
    """Return the hash of all that a layer is made from, these rules among it."""
    rules = [hashlib.sha256(Path(module).read_bytes()).hexdigest() for module in (__file__, zips.__file__)]
    compiler = target.compiler.version if target.compiler else ""
    platform = target.platform or f"{target.architecture}-{sys.platform}"
    parts = (*rules, layer.requirements, target.python, platform, compiler)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _forget_older(folder: Path, target: Target, layer: Layer) -> None:
    for older in folder.glob(f"{target.name}-{layer.name}-*.zip"):
        older.unlink()


def _install(root: Path, layer: Layer, target: Target, environment: Mapping[str, str], into: Path) -> None:
    into.mkdir()
    requirements = into.with_name("requirements.txt")
    requirements.write_text(layer.requirements, encoding="utf-8")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(into)]
    if target.platform:
        options += ["--python-platform", target.platform, "--python-version", target.python]
    command = [find_uv(root, environment), "pip", "install", *options, "--python", str(target.installer.path)]
    command += ["--find-links", str(root / VENDOR), "-r", str(requirements)]
    result = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode != 0:
        said = " ".join(result.stderr.split()).rstrip(".")
        platform = f"{target.architecture}, Python {target.python}"
        raise ConfigurationError(
            f"The layer `{layer.name}` can't be made from {lock_name(layer.name)} for {platform}: {said}.",
            remedy=f"Every package of {lock_name(layer.name)} needs a wheel for that platform, and the hash that is"
            " locked; after a change of requirements run `make lock`.",
        )


def find_uv(root: Path, environment: Mapping[str, str]) -> str:
    """Return the uv that QETL_UV names, or the one beside the running Python, or the one on PATH.

    Raises:
        ConfigurationError: There is none.
    """
    given = environment.get("QETL_UV")
    named = [str(root / given) if os.sep in given else given] if given else []
    for candidate in named or [str(Path(sys.executable).with_name("uv")), "uv"]:
        if found := shutil.which(candidate, path=environment.get("PATH")):
            return found
    missing = f"{given}, which QETL_UV names, does not exist" if given else "There is no uv beside Python or on PATH"
    raise ConfigurationError(f"{missing}; layers are made with it.", remedy="Run `make setup`.")


def _leave_out(installed: Path) -> None:
    for path in sorted(installed.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif LEFT_OUT.fullmatch(path.relative_to(installed).as_posix()):
            path.unlink()


def _compile(python: Python, installed: Path) -> None:
    """Write .pyc files that Python takes without a look at the source, whose time in a zip means nothing.

    One process in a fixed order, with one seed for hashes: the same bytes each time.
    """
    command = [str(python.path), "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-x", NOT_COMPILED, "-s", str(installed.parent), "-p", ON_LAMBDA, str(installed)]
    environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode != 0:
        raise ConfigurationError(
            f"Python {python.version} can't compile a layer: {' '.join((result.stdout + result.stderr).split())}.",
            remedy="A package is not for this version of Python: pin another version of it and run `make lock`.",
        )


def _members(installed: Path) -> Iterator[tuple[str, bytes]]:
    for path in installed.rglob("*"):
        if path.is_file():
            name = path.relative_to(installed.parent).as_posix()
            content = path.read_bytes()
            yield name, _headers(content) if name.endswith(".dist-info/METADATA") else content


def _headers(metadata: bytes) -> bytes:
    """Return a package's metadata without its long description: the page that its registry shows."""
    return metadata.partition(b"\n\n")[0] + b"\n"
