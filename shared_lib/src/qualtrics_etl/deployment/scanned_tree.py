"""The files of a repository that scanners look at: what git keeps, copied, so that nothing else is seen or written."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from qualtrics_etl.errors import ConfigurationError

NOT_SCANNED = (".whl",)
"""The library's wheel: scanned where it is made, and pinned by its hash here."""


def copy_tree(root: Path, copy: Path) -> Path:
    """Copy what git keeps or would keep of a repository, and return the copy.

    It has an empty `.git` folder: some scanners look for one to know where a repository begins.

    Raises:
        ConfigurationError: There is no git.
    """
    (copy / ".git").mkdir(parents=True)
    for name in kept_files(root):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, copy / name)
    return copy


def kept_files(root: Path) -> list[str]:
    """Return the files of a repository, relative to it, that are committed or not ignored; it may be no checkout yet.

    Raises:
        ConfigurationError: There is no git, or it does not read the repository.
    """
    with TemporaryDirectory(prefix="git-") as folder:
        own = [] if (root / ".git").exists() else _empty_repository(Path(folder), root)
        listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
        names = _git(root, *own, *listing).split("\0")
    return sorted(name for name in names if name and not name.endswith(NOT_SCANNED) and (root / name).is_file())


def _empty_repository(folder: Path, root: Path) -> list[str]:
    """Make git's own files outside of the repository, which stays as it is; return git's options for them."""
    _git(folder, "init", "--quiet", "--bare", ".")
    return [f"--git-dir={folder}", f"--work-tree={root}"]


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    # In a git hook, variables name the repository that is being committed to.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    except FileNotFoundError as exc:
        raise ConfigurationError(
            "There is no git.", remedy="Install it: it tells which files are the repository's."
        ) from exc
    except subprocess.CalledProcessError as exc:
        raise ConfigurationError(
            f"git can't read {folder}: {exc.stderr.strip()}.", remedy="Run `git status` there."
        ) from exc
    return result.stdout
