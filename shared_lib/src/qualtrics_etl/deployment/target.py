"""What layers are built for: a version of Python, an architecture, and the Pythons of this machine that help.

`aws` is what serverless.yml says of the functions' runtime; `local` is this machine, where the emulator runs them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

TargetName = Literal["aws", "local"]
SERVERLESS_FILE = "serverless.yml"

_ARCHITECTURES = {"arm64": "aarch64", "x86_64": "x86_64"}
_MACHINES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "amd64": "x86_64"}
_PROBE = (
    "import json, platform, sys; print(json.dumps([sys.executable, platform.python_version(), platform.machine()]))"
)


@dataclass(frozen=True, slots=True)
class Python:
    """A Python of this machine.

    Attributes:
        version: In full, for example `3.13.2`.
        machine: What it calls this machine, for example `x86_64`.
    """

    path: Path
    version: str
    machine: str

    @property
    def minor(self) -> str:
        """The version that byte-code and wheels belong to, for example `3.13`."""
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, slots=True)
class Target:
    """What is built for.

    Attributes:
        python: The functions' Python, for example `3.13`.
        architecture: As AWS calls it: `arm64` or `x86_64`.
        platform: What wheels must be made for, in uv's words; None for this machine.
        installer: The Python on whose behalf uv works; for this machine, the one that runs the functions.
        compiler: A Python of the functions' version, which makes the .pyc files; None when this machine has none.
        layers: The layers that serverless.yml defines, in its order.
    """

    name: TargetName
    python: str
    architecture: str
    platform: str | None
    installer: Python
    compiler: Python | None
    layers: tuple[str, ...]


def read_target(root: Path, name: TargetName, environment: Mapping[str, str]) -> Target:
    """Read what is built for.

    Args:
        root: The generated repository.
        environment: May name a Python: QETL_EMULATOR_PYTHON for `local`, QETL_RUNTIME_PYTHON for `aws`.

    Raises:
        ConfigurationError: serverless.yml does not say it, or a Python that was named can't be used.
    """
    file = read_yaml(root / SERVERLESS_FILE)
    layers = _layers(file)
    if name == "local":
        python = _emulator_python(root, environment)
        return Target(name, python.minor, _MACHINES[python.machine.lower()], None, python, python, layers)
    version, architecture = _runtime(file), _architecture(file)
    # The image of Python 3.11 has glibc 2.26, later ones have 2.34. Source: AWS Lambda developer guide, runtimes.
    libc = "manylinux_2_28" if int(version.split(".")[1]) >= 12 else "manylinux2014"
    compiler = _runtime_python(root, version, environment)
    platform = f"{_ARCHITECTURES[architecture]}-{libc}"
    return Target(name, version, architecture, platform, _running_python(), compiler, layers)


def _layers(file: YamlFile) -> tuple[str, ...]:
    layers = file.data.get("layers") if isinstance(file.data, dict) else None
    if not isinstance(layers, dict) or "base" not in layers:
        raise ConfigurationError(
            f"{SERVERLESS_FILE}:{file.line_of('layers')}: `layers` defines no `base`, which every function needs.",
            remedy="Take it from a freshly generated repository.",
        )
    return tuple(layers)


def _runtime(file: YamlFile) -> str:
    runtime = str(file.data.get("provider", {}).get("runtime"))
    if match := re.fullmatch(r"python(3\.\d+)", runtime):
        return match[1]
    raise ConfigurationError(
        f"{SERVERLESS_FILE}:{file.line_of('provider', 'runtime')}: `provider.runtime` is `{runtime}`.",
        remedy="Write the version plainly: `runtime: python3.13`.",
    )


def _architecture(file: YamlFile) -> str:
    architecture = str(file.data.get("provider", {}).get("architecture"))
    if architecture in _ARCHITECTURES:
        return architecture
    raise ConfigurationError(
        f"{SERVERLESS_FILE}:{file.line_of('provider', 'architecture')}: `provider.architecture` is `{architecture}`.",
        remedy="Write `architecture: arm64` or `architecture: x86_64`.",
    )


def _emulator_python(root: Path, environment: Mapping[str, str]) -> Python:
    given = environment.get("QETL_EMULATOR_PYTHON") or ".venv-emulator/bin/python"
    python = _look_at(str(root / given))
    if python is None:
        raise ConfigurationError(
            f"There is no Python at {given}: functions of the stage local run in the emulator's.",
            remedy="Run `make emulator`.",
        )
    return python


def _runtime_python(root: Path, version: str, environment: Mapping[str, str]) -> Python | None:
    """Return a Python of the functions' version: the one that is named, or one found here."""
    if given := environment.get("QETL_RUNTIME_PYTHON"):
        command = given if os.sep not in given else str(root / given)
        python = _look_at(command, environment.get("PATH"))
        if python is None or python.minor != version:
            found = "can't be started" if python is None else f"is Python {python.version}"
            raise ConfigurationError(
                f"QETL_RUNTIME_PYTHON is {given}, which {found}; the functions run Python {version}.",
                remedy=f"Name a Python {version}, or leave the variable away.",
            )
        return python
    if (running := _running_python()).minor == version:
        return running
    found_here = _look_at(f"python{version}", environment.get("PATH"))
    return found_here if found_here and found_here.minor == version else None


def _running_python() -> Python:
    python = _look_at(sys.executable)
    assert python is not None
    return python


def _look_at(command: str, search: str | None = None) -> Python | None:
    """Ask a Python what it is; None when it can't be started (a name may be a launcher of versions that are gone)."""
    path = shutil.which(command, path=search)
    if path is None:
        return None
    answer = subprocess.run([path, "-I", "-c", _PROBE], capture_output=True, text=True, check=False)  # noqa: S603
    if answer.returncode != 0:
        return None
    executable, version, machine = json.loads(answer.stdout)
    return Python(Path(executable), version, machine)
