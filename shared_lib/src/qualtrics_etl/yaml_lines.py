"""YAML files with the line of every value, so that an error can say where to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from qualtrics_etl.errors import ConfigurationError

Path_ = tuple[str | int, ...]

MAX_BYTES = 1_000_000
"""A settings file that is larger is none; the largest that the template makes has some hundred lines."""
MAX_VALUES = 50_000
"""Of a file whose aliases repeat each other, a few lines are more values than fit any memory."""
MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A parsed file.

    Attributes:
        path: Where it was read from.
        data: Its content: mappings, lists, scalars.
        lines: Line (from 1) of each value, by its path of keys and indexes.
    """

    path: Path
    data: Any
    lines: Mapping[Path_, int]

    def line_of(self, *path: str | int) -> int | None:
        """Return the line of the value at `path`, or of the nearest thing around it."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return self.lines.get(())


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML file, refusing what YAML lets pass silently: keys given twice, and odd tags.

    Raises:
        ConfigurationError: No such file, not YAML, too large, or a key given twice; names the line.
    """
    try:
        text = _read(path)
    except FileNotFoundError as exc:
        raise ConfigurationError(
            f"{path.name}: there is no such file at {path.parent}.",
            remedy="Run the command in the folder of a generated repository.",
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path.name}: it is not UTF-8 text.", remedy="Save it as UTF-8.") from exc
    except OSError as exc:
        raise ConfigurationError(
            f"{path.name}: it can't be read ({exc.strerror}).", remedy="Put a readable file in its place."
        ) from exc
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Path_, int] = {}
        if node is not None:
            _walk(path, node, (), lines)
        return YamlFile(path=path, data=yaml.safe_load(text), lines=lines)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise ConfigurationError(
            f"{path.name}:{line}: it is not valid YAML: {exc.problem}.", remedy="Check indentation and quotes there."
        ) from exc
    except yaml.YAMLError as exc:
        raise ConfigurationError(f"{path.name}: it is not valid YAML.", remedy="Remove control characters.") from exc
    except RecursionError as exc:
        raise _too_deep(path, None) from exc
    except (ValueError, TypeError, LookupError, AttributeError) as exc:
        # PyYAML's own constructors raise these: a 31st of February, a number that is none behind `!!int`.
        raise ConfigurationError(
            f"{path.name}: it holds a value that is not what it seems, such as a date that does not exist.",
            remedy="Put such values into quotes, and remove tags (`!!...`).",
        ) from exc


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigurationError(
            f"{path.name}: it has more than {MAX_BYTES:,} bytes.", remedy="Keep settings in it, and no data."
        )
    return data.decode("utf-8")


def _too_deep(path: Path, line: int | None) -> ConfigurationError:
    where = path.name if line is None else f"{path.name}:{line}"
    return ConfigurationError(
        f"{where}: it is nested more than {MAX_DEPTH} levels deep.", remedy="Take brackets or indentation out there."
    )


def _walk(file: Path, node: yaml.Node, path: Path_, lines: dict[Path_, int]) -> None:
    lines[path] = node.start_mark.line + 1
    if len(path) > MAX_DEPTH:
        raise _too_deep(file, lines[path])
    if len(lines) > MAX_VALUES:
        raise ConfigurationError(
            f"{file.name}:{lines[path]}: it has more than {MAX_VALUES:,} values up to here.",
            remedy="Write out what the aliases (`*name`) repeat, or leave it out.",
        )
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigurationError(
                    f"{file.name}:{key.start_mark.line + 1}: a key is a list or a mapping.",
                    remedy="Put what has brackets or braces into quotes.",
                )
            here = (*path, str(key.value))
            if here in lines:
                raise ConfigurationError(
                    f"{file.name}:{key.start_mark.line + 1}: `{key.value[:60]}` is given twice"
                    f" (first at line {lines[here]}).",
                    remedy="Keep one of them.",
                )
            _walk(file, value, here, lines)
            lines[here] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(file, item, (*path, index), lines)
