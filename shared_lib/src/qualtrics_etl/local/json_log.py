"""A log of JSON lines, with the fields that Lambda's own JSON log format has."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

from typing_extensions import override

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.FileHandler):
    """Appends a JSON object a record: time, level, event, then the record's own fields."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _KNOWN}
        return json.dumps(line, default=str, ensure_ascii=False)
