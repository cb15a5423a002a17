"""What is deployed is built once, the same bytes from the same sources, and holds what functions need and no more."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from cookiecutter.main import cookiecutter

from qualtrics_etl.deployment.package import build_package, verify_package
from qualtrics_etl.errors import ConfigurationError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("package")]

ROOT = Path(__file__).resolve().parents[3]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
OTHER = "3.13" if RUNNING != "3.13" else "3.12"
"""A version of Python that is not running here, and for which packages have wheels."""
LOCAL = {**os.environ, "QETL_EMULATOR_PYTHON": sys.executable}
CALL = "import sys; from qualtrics_etl.cli.main import main; main()"


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository from default answers with its build for this machine; to be looked at, not changed."""
    folder = tmp_path_factory.mktemp("package")
    settings = folder / "cookiecutter.yml"
    settings.write_text(f"cookiecutters_dir: {folder}/cookiecutters\nreplay_dir: {folder}/replay\n")
    made = cookiecutter(str(ROOT), no_input=True, output_dir=str(folder), config_file=str(settings))
    build(Path(made))
    return Path(made)


@pytest.fixture
def own(repository: Path, tmp_path: Path) -> Path:
    """A copy of the repository, build and all, to be changed."""
    return Path(shutil.copytree(repository, tmp_path / "acme-etl"))


@pytest.fixture(scope="session")
def layers(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every layer of the build, unpacked into a folder of its name."""
    folder = tmp_path_factory.mktemp("layers")
    for path in (repository / "build" / "local" / "layers").glob("*.zip"):
        ZipFile(path).extractall(folder / path.stem)
    return folder


def build(root: Path, **environment: str) -> list[str]:
    """Build for this machine; return the lines that were said."""
    said: list[str] = []
    build_package(root, "local", said.append, {**LOCAL, **environment})
    return said


def replace(path: Path, pattern: str, new: str) -> None:
    """Change what a pattern finds in a file; it must find something."""
    text, count = re.subn(pattern, new, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count
    path.write_text(text, encoding="utf-8")


def names(root: Path, member: str) -> set[str]:
    """Return the paths in one of the build's zips."""
    return set(ZipFile(root / "build" / "local" / member).namelist())


def packages(members: set[str]) -> dict[str, str]:
    """Return the packages of a layer, and their versions."""
    found = {match for name in members if (match := re.match(r"python/([^/]+)-([^/-]+)\.dist-info/METADATA$", name))}
    return {match[1].lower().replace("_", "-"): match[2] for match in found}


def pinned(root: Path, lock: str) -> dict[str, str]:
    """Return what a lock pins."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (root / lock).read_text(), re.MULTILINE))


def services(root: Path) -> list[str]:
    """Return the services of the workflow."""
    return list(yaml.safe_load((root / "workflow.yml").read_text())["services"])


def contents(root: Path) -> dict[str, bytes]:
    """Return every file of the build for this machine."""
    folder = root / "build" / "local"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_manifest_names_every_file(repository: Path) -> None:
    """Library, Python, architecture, and each zip with hash and size; `verify_package` reads the same."""
    files = contents(repository)
    manifest = json.loads(files.pop("manifest.json"))
    machine = {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    assert manifest == {
        "library": pinned(repository, "requirements.txt")["qualtrics-etl"],
        "python": RUNNING,
        "architecture": machine,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
    }
    zips = {"layers/base.zip", "layers/sftp.zip", *(f"functions/{name}.zip" for name in services(repository))}
    assert (files.keys(), verify_package(repository, "local")) == (zips, manifest)


def test_package_is_small(repository: Path) -> None:
    """A function has under 50 KB of its own; the base layer has under 5 MB, .pyc files included."""
    files = json.loads((repository / "build" / "local" / "manifest.json").read_text())["files"]
    assert max(file["bytes"] for name, file in files.items() if name.startswith("functions/")) < 50_000
    assert files["layers/base.zip"]["bytes"] < 5_000_000
    assert f"python/qualtrics_etl/__pycache__/lambda_entry.{TAG}.pyc" in names(repository, "layers/base.zip")


def test_function_holds_its_own_folder_and_what_all_read(own: Path) -> None:
    """The folder without function.yml, caches and hidden files, the workflow, and the settings of every stage."""
    folder = own / "services" / "parse_file"
    for name in ("columns.csv", "__pycache__/handler.cpython-311.pyc", ".DS_Store", "help/words.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    build(own)
    assert names(own, "functions/parse_file.zip") == {
        "workflow.yml",
        *(f"config/{stage}.yml" for stage in ("dev", "local", "prod", "staging")),
        *(f"services/parse_file/{name}" for name in ("handler.py", "columns.csv", "help/words.txt")),
    }


def test_layers_hold_what_their_locks_say(repository: Path) -> None:
    """The base is requirements.txt; `sftp` is what requirements-sftp.txt has beyond it."""
    base, beyond = pinned(repository, "requirements.txt"), pinned(repository, "requirements-sftp.txt")
    assert packages(names(repository, "layers/base.zip")) == base
    assert packages(names(repository, "layers/sftp.zip")) == {
        name: version for name, version in beyond.items() if name not in base
    }


def test_layers_hold_nothing_that_no_function_reads(repository: Path) -> None:
    """No commands, installers' notes, type stubs, tests; of the library no room for a developer's machine."""
    members = names(repository, "layers/base.zip") | names(repository, "layers/sftp.zip")
    unread = re.compile(
        r"python/bin/|/(RECORD|INSTALLER|direct_url\.json|tests)(/|$)|\.pyi$|\.[ch]$"
        r"|qualtrics_etl/(cli|deployment|local|simulator|testing|__main__)\b"
    )
    assert sorted(filter(unread.search, members)) == []
    assert {name.partition("/")[0] for name in members} == {"python"}


def test_nothing_in_the_layer_imports_what_was_left_out(repository: Path) -> None:
    """Each module of the library that a function may load finds there what it imports, at once or later."""
    archive = ZipFile(repository / "build" / "local" / "layers" / "base.zip")
    sources = [name for name in archive.namelist() if re.fullmatch(r"python/qualtrics_etl/.*\.py", name)]
    there = {name.removeprefix("python/").removesuffix(".py").removesuffix("/__init__") for name in sources}
    missing = {
        (name, module)
        for name in sources
        for module in own_imports(ast.parse(archive.read(name)))
        if module.replace(".", "/") not in there
    }
    assert (missing, "qualtrics_etl/steps/import_contacts" in there) == (set(), True)


def own_imports(node: ast.AST) -> Iterator[str]:
    """Yield the modules of the library that code imports, those for type checkers not counted."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom) and child.module and child.module.startswith("qualtrics_etl."):
            yield child.module
        elif isinstance(child, ast.Import):
            yield from (each.name for each in child.names if each.name.startswith("qualtrics_etl."))
        yield from own_imports(child)


ISOLATED = """
import sys
sys.dont_write_bytecode = True
sys.path[:0] = {path!r}
from services.{service}.handler import handler
assert handler.step.kind.name == {kind!r}
print(sorted({{"boto3", "asyncssh", "typer", "werkzeug"}} & sys.modules.keys()))
{more}
"""


@pytest.mark.parametrize(
    ("service", "more"),
    [
        *((name, "") for name in ("parse_file", "create_mailing_list", "import_contacts", "schedule_reminder")),
        ("fetch_sftp_file", "import qualtrics_etl.channels.sftp_session, qualtrics_etl.channels.sftp_login"),
    ],
)
def test_handler_starts_with_its_layers_alone(repository: Path, layers: Path, service: str, more: str) -> None:
    """A bare Python imports the handler, and not boto3 until that is needed; what speaks SFTP comes from its layer."""
    taken = ["base", "sftp"] if more else ["base"]
    path = [str(repository), *(str(layers / layer / "python") for layer in taken)]
    program = ISOLATED.format(path=path, service=service, kind=service, more=more)
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False, cwd=layers
    )
    assert (result.returncode, result.stdout) == (0, "[]\n"), result.stderr


def test_compiled_files_are_taken_without_a_look_at_the_source(repository: Path, tmp_path: Path) -> None:
    """A layer's times mean nothing to Python: it takes the .pyc file, whatever the source looks like."""
    ZipFile(repository / "build" / "local" / "layers" / "base.zip").extractall(tmp_path)
    (tmp_path / "python" / "qualtrics_etl" / "lambda_entry.py").write_text("raise SystemExit('the source was read')")
    program = f"import sys; sys.path.insert(0, {str(tmp_path / 'python')!r}); import qualtrics_etl.lambda_entry"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)


def test_two_builds_are_the_same_bytes(repository: Path, own: Path) -> None:
    """In another folder, with nothing kept from before, every file comes out the same."""
    shutil.rmtree(own / "build")
    build(own)
    assert contents(own) == contents(repository)


def test_layers_are_kept(own: Path) -> None:
    """A second build makes no layer again, and changes nothing."""
    before = contents(own)
    assert [line for line in build(own) if line.startswith("Making")] == []
    assert contents(own) == before


def test_layer_is_made_again_when_its_lock_changes(own: Path) -> None:
    """A package less in one lock: that layer is made again without it, the other is kept, and nothing piles up."""
    replace(own / "requirements-sftp.txt", r"^pycparser==(.|\n)+?(?=^pydantic==)", "")
    said = build(own)
    assert [line.split(":")[0] for line in said if line.startswith("Making")] == ["Making layer sftp"]
    assert "pycparser" not in packages(names(own, "layers/sftp.zip"))
    assert len(list((own / "build" / "cache").iterdir())) == 2


@pytest.mark.parametrize(
    ("number", "at"),
    [
        (signal.SIGINT, "layers/base.zip"),
        (signal.SIGTERM, "layers/base.zip"),
        (signal.SIGKILL, "layers/base.zip"),
        (signal.SIGINT, "functions/schedule_reminder.zip"),
        (signal.SIGTERM, "functions/schedule_reminder.zip"),
    ],
)
def test_interrupted_build_leaves_a_whole_one(own: Path, number: signal.Signals, at: str) -> None:
    """Whenever it is stopped, there is the old build or the new one; the next build works and clears away the rest."""
    old = contents(own)["functions/parse_file.zip"]
    replace(own / "services" / "parse_file" / "handler.py", r"\Z", "# changed\n")
    command = [sys.executable, "-c", CALL, "package", "--stage", "local"]
    with subprocess.Popen(command, cwd=own, env=LOCAL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any(line.startswith(at) for line in process.stdout)
        process.send_signal(number)
        process.communicate()
    verify_package(own, "local")
    left = contents(own)["functions/parse_file.zip"]
    build(own)
    new = contents(own)["functions/parse_file.zip"]
    assert (left in (old, new), old != new) == (True, True)
    assert sorted(path.name for path in (own / "build").iterdir()) == [".lock", "cache", "local"]


def test_build_killed_at_its_last_step_is_put_back(own: Path) -> None:
    """Killed after the old build was moved away: the next attempt puts it back, even when it fails itself."""
    before = contents(own)
    shutil.rmtree(own / "build" / "cache")
    (own / "build" / "local").rename(own / "build" / ".old-local")
    with pytest.raises(ConfigurationError):
        build(own, QETL_UV="/nonexistent/uv")
    assert contents(own) == before


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_package_for_aws(own: Path, tmp_path: Path, architecture: str, machine: str) -> None:
    """Wheels are those of the functions' Python and architecture; without such a Python, .pyc files are left out."""
    replace(own / "serverless.yml", r"^  runtime: .*", f"  runtime: python{OTHER}")
    replace(own / "serverless.yml", r"^  architecture: .*", f"  architecture: {architecture}")
    said: list[str] = []
    manifest = build_package(own, "aws", said.append, {**os.environ, "PATH": str(tmp_path)})
    assert (manifest["python"], manifest["architecture"]) == (OTHER, architecture)
    members = [name for path in (own / "build" / "aws" / "layers").glob("*") for name in ZipFile(path).namelist()]
    compiled = {name for name in members if name.endswith(".so")}
    wanted = rf"cpython-{OTHER.replace('.', '')}-{machine}-linux-gnu\.so$|\.abi3\.so$"
    assert [name for name in compiled if not re.search(wanted, name)] == []
    assert f"python/pydantic_core/_pydantic_core.cpython-{OTHER.replace('.', '')}-{machine}-linux-gnu.so" in compiled
    assert [name for name in members if name.endswith(".pyc")] == []
    assert said[0] == (
        f"note: this machine has no Python {OTHER}, so the layers get no .pyc files: functions start slower. Remedy:"
        f" install it, or name it: QETL_RUNTIME_PYTHON=/path/to/python{OTHER} make package"
    )


def test_python_that_is_named_makes_the_compiled_files(own: Path) -> None:
    """QETL_RUNTIME_PYTHON of the functions' version: the layers for AWS have .pyc files, and stay below 5 MB."""
    replace(own / "serverless.yml", r"^  runtime: .*", f"  runtime: python{RUNNING}")
    files = build_package(own, "aws", print, {**os.environ, "QETL_RUNTIME_PYTHON": sys.executable})["files"]
    assert files["layers/base.zip"]["bytes"] < 5_000_000
    members = ZipFile(own / "build" / "aws" / "layers" / "base.zip").namelist()
    assert f"python/requests/__pycache__/api.{TAG}.pyc" in members


def test_large_function_is_told_with_its_largest_files(own: Path) -> None:
    """What was left in the folder by mistake is named."""
    (own / "services" / "parse_file" / "example.bin").write_bytes(os.urandom(60_000))
    (warning,) = [line for line in build(own) if line.startswith("warning")]
    assert warning.startswith(
        "warning: parse_file's own package is over 50.0 kB. Largest files: services/parse_file/example.bin (60.0 kB), "
    )


def test_function_that_lambda_would_refuse_is_refused(own: Path) -> None:
    """Unzipped, with its layers, a function may have 250 MiB; the old build stays."""
    before = contents(own)
    with (own / "services" / "fetch_sftp_file" / "example.bin").open("wb") as file:
        file.truncate(250 * 1024 * 1024)
    with pytest.raises(ConfigurationError, match=r"fetch_sftp_file would be .*262\.1 MB: .*layer base.*layer sftp"):
        build(own)
    assert contents(own) == before


def no_emulator(root: Path) -> tuple[dict[str, str], str]:
    """Have no emulator installed."""
    return {"QETL_EMULATOR_PYTHON": ".venv-emulator/bin/python"}, (
        "There is no Python at .venv-emulator/bin/python: functions of the stage local run in the emulator's."
        " Run `make emulator`."
    )


def no_uv(root: Path) -> tuple[dict[str, str], str]:
    """Name a uv that is not there."""
    shutil.rmtree(root / "build")
    return {"QETL_UV": "bin/uv"}, "bin/uv, which QETL_UV names, does not exist; layers are made with it."


def other_wheel(root: Path) -> tuple[dict[str, str], str]:
    """Change the library's wheel."""
    (wheel,) = (root / "vendor").glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\n")
    return {}, f"vendor/{wheel.name} is not the file that requirements.txt pins: its hash is another."


def no_wheel(root: Path) -> tuple[dict[str, str], str]:
    """Lose the library's wheel."""
    (wheel,) = (root / "vendor").glob("*.whl")
    wheel.unlink()
    return {}, f"vendor/{wheel.name} does not exist, and requirements.txt pins it. `git checkout vendor requirements*`"


def no_lock(root: Path) -> tuple[dict[str, str], str]:
    """Have a layer without a lock."""
    (root / "requirements-sftp.txt").unlink()
    return {}, (
        "requirements-sftp.txt does not exist, and serverless.yml has a layer `sftp`. Write requirements-sftp.in and"
        " run `make lock`, or take the layer out of serverless.yml."
    )


def two_versions(root: Path) -> tuple[dict[str, str], str]:
    """Let two locks disagree."""
    replace(root / "requirements-sftp.txt", r"^idna==\S+", "idna==3.1")
    idna = pinned(root, "requirements.txt")["idna"]
    return {}, f"requirements-sftp.txt pins idna to 3.1, and requirements.txt to {idna}. A function has one of each."


def other_hash(root: Path) -> tuple[dict[str, str], str]:
    """Lock a package by hashes that none of its files has."""
    shutil.rmtree(root / "build")
    replace(root / "requirements.txt", r"(?<=sha256:)[0-9a-f]{60}(?=[0-9a-f]{4} \\\n)", "0" * 60)
    version = pinned(root, "requirements.txt")["qualtrics-etl"]
    (wheel,) = (root / "vendor").glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    replace(root / "requirements.txt", rf"(?<=^qualtrics-etl=={re.escape(version)} \\\n    --hash=sha256:)\w+", digest)
    return {}, "The layer `base` can't be made from requirements.txt for "


def no_folder(root: Path) -> tuple[dict[str, str], str]:
    """Lose a service's folder."""
    shutil.rmtree(root / "services" / "parse_file")
    return {}, "services/parse_file/ does not exist, and workflow.yml has a service `parse_file`."


def layer_named_as_a_service(root: Path) -> tuple[dict[str, str], str]:
    """Give a layer the name of a service."""
    replace(root / "serverless.yml", r"^  sftp:", "  parse_file:")
    return {}, "workflow.yml has a service `parse_file`, and serverless.yml a layer of that name. Rename one of them."


@pytest.mark.parametrize(
    "break_it",
    [
        no_emulator,
        no_uv,
        other_wheel,
        no_wheel,
        no_lock,
        two_versions,
        other_hash,
        no_folder,
        layer_named_as_a_service,
    ],
)
def test_what_is_missing_is_told_with_its_remedy(
    own: Path, break_it: Callable[[Path], tuple[dict[str, str], str]]
) -> None:
    """Each names what is wrong, where, and what mends it."""
    environment, expected = break_it(own)
    with pytest.raises(ConfigurationError) as caught:
        build(own, **environment)
    assert str(caught.value).startswith(expected)
    assert caught.value.remedy or "Rename" in expected


def test_python_without_wheels_is_told(own: Path) -> None:
    """A runtime for which a package has no wheel: which layer, which platform, and what the lock must have."""
    replace(own / "serverless.yml", r"^  runtime: .*", "  runtime: python3.99")
    with pytest.raises(ConfigurationError) as caught:
        build_package(own, "aws", print, dict(os.environ))
    start = "The layer `base` can't be made from requirements.txt for arm64, Python 3.99: "
    assert (str(caught.value).startswith(start), "no usable wheels" in str(caught.value)) == (True, True)


@pytest.mark.parametrize(
    ("pattern", "new", "expected"),
    [
        (r"^  runtime: .*", "  runtime: nodejs24.x", r"serverless\.yml:\d+: `provider\.runtime` is `nodejs24\.x`"),
        (r"^  architecture: .*\n", "", r"serverless\.yml:\d+: `provider\.architecture` is `None`"),
        (r"^layers:", "layer:", r"serverless\.yml:\d+: `layers` defines no `base`"),
    ],
)
def test_unclear_target_is_told(own: Path, pattern: str, new: str, expected: str) -> None:
    """What serverless.yml does not say plainly is asked for, with its line."""
    replace(own / "serverless.yml", pattern, new)
    with pytest.raises(ConfigurationError, match=expected):
        build_package(own, "aws", print, dict(os.environ))


def test_python_of_another_version_is_refused(own: Path) -> None:
    """.pyc files of another version would never be read."""
    replace(own / "serverless.yml", r"^  runtime: .*", f"  runtime: python{OTHER}")
    with pytest.raises(ConfigurationError, match=rf"which is Python {RUNNING}.*; the functions run Python {OTHER}"):
        build_package(own, "aws", print, {**os.environ, "QETL_RUNTIME_PYTHON": sys.executable})


def lose(build: Path) -> str:
    """Delete a layer."""
    (build / "layers" / "sftp.zip").unlink()
    return "build/local is not what its manifest.json says: layers/sftp.zip is missing."


def change(build: Path) -> str:
    """Put one function in another's place."""
    shutil.copy(build / "functions" / "parse_file.zip", build / "functions" / "import_contacts.zip")
    return "build/local is not what its manifest.json says: functions/import_contacts.zip is another file."


def add(build: Path) -> str:
    """Add a zip."""
    shutil.copy(build / "functions" / "parse_file.zip", build / "functions" / "copy.zip")
    return "build/local is not what its manifest.json says: functions/copy.zip is not named there."


def empty(build: Path) -> str:
    """Have no build."""
    shutil.rmtree(build)
    return "There is no build/local/manifest.json: nothing was built."


def spoil(build: Path) -> str:
    """Spoil the manifest."""
    (build / "manifest.json").write_text("{")
    return "build/local/manifest.json is not JSON."


def forget(build: Path) -> str:
    """Add a service after the build."""
    manifest: dict[str, Any] = json.loads((build / "manifest.json").read_text())
    del manifest["files"]["functions/parse_file.zip"]
    (build / "manifest.json").write_text(json.dumps(manifest))
    (build / "functions" / "parse_file.zip").unlink()
    return "build/local is not what its manifest.json says: it has no function parse_file, which is in workflow.yml."


@pytest.mark.parametrize("spoil_it", [lose, change, add, empty, spoil, forget])
def test_build_that_is_not_its_manifest_is_refused(own: Path, spoil_it: Callable[[Path], str]) -> None:
    """What was built before is deployed whole or not at all."""
    expected = spoil_it(own / "build" / "local")
    with pytest.raises(ConfigurationError) as caught:
        verify_package(own, "local")
    assert str(caught.value) == f"{expected} `make package STAGE=local` builds it."


def test_misspelt_stage_is_told(own: Path) -> None:
    """It would otherwise be built for AWS."""
    command = [sys.executable, "-c", CALL, "package", "--stage", "lcal"]
    result = subprocess.run(command, cwd=own, capture_output=True, text=True, check=False)
    expected = "error: There is no config/lcal.yml. Stages here: dev, local, prod, staging.\n"
    assert (result.returncode, result.stderr) == (2, expected)
