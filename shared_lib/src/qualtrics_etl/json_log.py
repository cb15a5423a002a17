"""Log lines as JSON, with the fields that Lambda's own JSON log format has."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from typing_extensions import override

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object: time, level, event, then the record's own fields."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _KNOWN}
        return json.dumps(line, default=str, ensure_ascii=False)


def log_where_lambda_does_not(environment: Mapping[str, str]) -> None:
    """Write what the library logs to standard error, in a function whose platform knows no log format: an emulator.

    Source: AWS Lambda developer guide, defined runtime environment variables: AWS_LAMBDA_FUNCTION_NAME is in every
    function, AWS_LAMBDA_LOG_FORMAT where the platform writes the log.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" not in environment or environment.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        return
    library = logging.getLogger(__package__)
    if not library.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        library.addHandler(handler)
        library.setLevel(logging.INFO)
