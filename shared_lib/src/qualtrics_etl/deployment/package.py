"""What is deployed, built once: layers, one zip a function, and a manifest that tells them by their hashes.

    build/<target>/layers/<layer>.zip
    build/<target>/functions/<service>.zip
    build/<target>/manifest.json

The target `aws` is for every stage on AWS: a function's zip holds the settings of all stages, so that what was tested
in one is, byte for byte, what runs in the next. The target `local` is for this machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qualtrics_etl.deployment.layers import CACHE, Layer, Say, make_layer
from qualtrics_etl.deployment.locks import BASE, beyond_base, library_version, read_lock
from qualtrics_etl.deployment.target import Target, TargetName, read_target
from qualtrics_etl.deployment.zips import sha256, unzipped_bytes, write_zip
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.workflow import WORKFLOW_FILE, Workflow, read_workflow
from qualtrics_etl.yaml_lines import read_yaml

BUILD = "build"
MANIFEST = "manifest.json"
WARNING_BYTES = 50_000
"""A function's own package is some pages of text; what is larger has caught something by mistake."""
UNZIPPED_LIMIT_BYTES = 250 * 1024 * 1024
"""Largest function with its layers, unzipped. Source: AWS Lambda developer guide, quotas."""

_LAYER_REF = re.compile(r"([A-Za-z0-9]+)LambdaLayer")
_OLD = ".old-"
_NEW = ".new-"


def target_of(stage: str | None) -> TargetName:
    """Return what a stage's package is built for."""
    return "local" if stage == "local" else "aws"


def build_package(
    root: Path, name: TargetName, say: Say, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Build `build/<name>/` in place of an older one, and return its manifest.

    An interruption leaves the older build or the new one, never a mixture.

    Args:
        root: The generated repository.
        say: Takes lines of progress, notes and warnings.
        environment: Variables that name programs; the process's own when None.

    Raises:
        ConfigurationError: Something that is needed is missing or wrong.
    """
    environment = os.environ if environment is None else environment
    workflow, target = read_workflow(root), read_target(root, name, environment)
    for clash in name_clashes(workflow, target.layers):
        raise ConfigurationError(clash)
    locks = {layer: read_lock(root, layer) for layer in target.layers}
    library = library_version(root, locks[BASE])
    with _alone(root / BUILD), _replacing(root / BUILD / name) as new:
        if target.compiler is None:
            say(_no_compiler(target))
        for layer, lock in locks.items():
            pins = lock if layer == BASE else beyond_base(layer, lock, locks[BASE])
            _put_layer(root, Layer(layer, pins), target, environment, new, say)
        for service in workflow.services:
            _put_function(root, service, new, say)
        _check_sizes(root, workflow, new)
        manifest = {
            "library": library,
            "python": target.python,
            "architecture": target.architecture,
            "files": {
                path.relative_to(new).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
                for path in sorted(new.rglob("*.zip"))
            },
        }
        (new / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    say(f"{BUILD}/{name}: {len(target.layers)} layers, {len(workflow.services)} functions.")
    return manifest


def verify_package(root: Path, name: TargetName) -> dict[str, Any]:
    """Check that `build/<name>/` is whole: the files that its manifest names, and no others; return the manifest.

    Raises:
        ConfigurationError: It is missing, or differs from its manifest, or lacks a service of workflow.yml.
    """
    folder = root / BUILD / name
    remedy = "`make package` builds it." if name == "aws" else "`make package STAGE=local` builds it."
    manifest = _read_manifest(folder, remedy)
    wanted: Mapping[str, Mapping[str, Any]] = manifest["files"]
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.zip"))}
    problems = [f"{path} is missing" for path in sorted(wanted.keys() - found.keys())]
    problems += [f"{path} is not named there" for path in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{path} is another file" for path in wanted if path in found and sha256(found[path]) != wanted[path]["sha256"]
    ]
    problems += [
        f"it has no function {service}, which is in workflow.yml"
        for service in read_workflow(root).services
        if f"functions/{service}.zip" not in wanted
    ]
    if problems:
        raise ConfigurationError(
            f"{BUILD}/{name} is not what its {MANIFEST} says: {'; '.join(problems)}.", remedy=remedy
        )
    return manifest


def name_clashes(workflow: Workflow, layers: Iterable[str]) -> Iterator[str]:
    """Yield each name that a service and a layer share: `sls` uploads both as `<name>.zip`, side by side."""
    for name in layers:
        if name in workflow.services:
            yield f"workflow.yml has a service `{name}`, and serverless.yml a layer of that name. Rename one of them."


def _read_manifest(folder: Path, remedy: str) -> dict[str, Any]:
    where = f"{BUILD}/{folder.name}/{MANIFEST}"
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ConfigurationError(f"There is no {where}: nothing was built.", remedy=remedy) from exc
    except ValueError as exc:
        raise ConfigurationError(f"{where} is not JSON.", remedy=remedy) from exc
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ConfigurationError(f"{where} names no files.", remedy=remedy)
    checked: dict[str, Any] = manifest
    return checked


@contextmanager
def _alone(build: Path) -> Iterator[None]:
    """Let one build work at a time, and clear away what one that was killed left behind."""
    build.mkdir(exist_ok=True)
    with (build / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in (*build.glob(f"{_NEW}*"), *(build / CACHE).glob("new-*")):
            shutil.rmtree(left)
        for old in build.glob(f"{_OLD}*"):
            if (build / old.name.removeprefix(_OLD)).exists():
                shutil.rmtree(old)
            else:
                old.rename(build / old.name.removeprefix(_OLD))
        yield


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Give a new folder that takes a folder's place at the end, if it comes to that."""
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_NEW))
    old = folder.with_name(f"{_OLD}{folder.name}")
    try:
        yield new
        new.chmod(0o755)
        # Between the two steps there is no build: nothing may come in between but the end of the process itself, after
        # which the next build begins by putting the old one back.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def _no_compiler(target: Target) -> str:
    return (
        f"note: this machine has no Python {target.python}, so the layers get no .pyc files: functions start slower."
        f" Remedy: install it, or name it: QETL_RUNTIME_PYTHON=/path/to/python{target.python} make package"
    )


def _put_layer(root: Path, layer: Layer, target: Target, environment: Mapping[str, str], new: Path, say: Say) -> None:
    path = new / "layers" / f"{layer.name}.zip"
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(make_layer(root, layer, target, environment, say), path)
    say(f"layers/{path.name}: {_size(path.stat().st_size)}")


def _put_function(root: Path, service: str, new: Path, say: Say) -> None:
    members = dict(_function_members(root, service))
    path = new / "functions" / f"{service}.zip"
    path.parent.mkdir(exist_ok=True)
    write_zip(path, members)
    size = path.stat().st_size
    say(f"functions/{path.name}: {_size(size)}")
    if size > WARNING_BYTES:
        largest = sorted(members, key=lambda name: (-len(members[name]), name))[:3]
        say(
            f"warning: {service}'s own package is over {_size(WARNING_BYTES)}. Largest files:"
            f" {', '.join(f'{name} ({_size(len(members[name]))})' for name in largest)}."
            " What several services need belongs into a layer, data into the bucket."
        )


def _function_members(root: Path, service: str) -> Iterator[tuple[str, bytes]]:
    """Yield what a function's zip holds: its own folder, the workflow, and the settings of all stages."""
    folder = root / "services" / service
    if not folder.is_dir():
        raise ConfigurationError(
            f"services/{service}/ does not exist, and workflow.yml has a service `{service}`.",
            remedy="Make the folder, or take the service out of workflow.yml.",
        )
    own = [path for path in folder.rglob("*") if path.is_file() and not _is_left_out(path.relative_to(folder))]
    for path in (*own, root / WORKFLOW_FILE, *(root / "config").glob("*.yml")):
        yield path.relative_to(root).as_posix(), path.read_bytes()


def _is_left_out(path: Path) -> bool:
    """Tell what of a service's folder no function reads: its function.yml, caches, and hidden files."""
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return hidden or path.suffix == ".pyc" or path == Path("function.yml")


def _check_sizes(root: Path, workflow: Workflow, new: Path) -> None:
    """Refuse a function that Lambda would refuse, with the layers that it takes."""
    layers = {path.stem: unzipped_bytes(path) for path in sorted((new / "layers").glob("*.zip"))}
    for service in workflow.services:
        taken = [name for name in function_layers(root, service) if name in layers]
        own = unzipped_bytes(new / "functions" / f"{service}.zip")
        total = own + sum(layers[name] for name in taken)
        if total > UNZIPPED_LIMIT_BYTES:
            parts = ", ".join(
                [f"its own files {_size(own)}", *(f"layer {name} {_size(layers[name])}" for name in taken)]
            )
            raise ConfigurationError(
                f"{service} would be {_size(total)} unzipped, and Lambda takes {_size(UNZIPPED_LIMIT_BYTES)}: {parts}.",
                remedy="Take what is not needed out of the folder, or out of the layer's requirements.",
            )


def function_layers(root: Path, service: str) -> list[str]:
    """Return the layers that a service's function.yml takes, by their names in serverless.yml."""
    path = root / "services" / service / "function.yml"
    function = read_yaml(path).data.get(service) if path.is_file() else None
    given = function.get("layers") if isinstance(function, dict) else None
    return layer_names(given) if given is not None else [BASE]


def layer_names(given: object) -> list[str]:
    """Return the names in a list of references as serverless.yml writes them: `- Ref: SftpLambdaLayer` means `sftp`."""
    refs = [str(each.get("Ref")) for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    return [match[1][:1].lower() + match[1][1:] for ref in refs if (match := _LAYER_REF.fullmatch(ref))]


def layer_ref(name: str) -> str:
    """Return how serverless.yml refers to a layer: the name that osls gives it in CloudFormation."""
    return f"{name[:1].upper()}{name[1:]}LambdaLayer"


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{max(count, 100) / 1000:.1f} kB"
