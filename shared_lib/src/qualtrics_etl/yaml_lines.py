"""YAML files with the line of every value, so that an error can say where to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from qualtrics_etl.errors import ConfigurationError

Path_ = tuple[str | int, ...]


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
        ConfigurationError: No such file, not YAML, or a key given twice; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigurationError(
            f"{path.name}: there is no such file at {path.parent}.",
            remedy="Run the command in the folder of a generated repository.",
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path.name}: it is not UTF-8 text.", remedy="Save it as UTF-8.") from exc
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


def _walk(file: Path, node: yaml.Node, path: Path_, lines: dict[Path_, int]) -> None:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            if here in lines:
                raise ConfigurationError(
                    f"{file.name}:{key.start_mark.line + 1}: `{key.value}` is given twice"
                    f" (first at line {lines[here]}).",
                    remedy="Keep one of them.",
                )
            _walk(file, value, here, lines)
            lines[here] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(file, item, (*path, index), lines)
