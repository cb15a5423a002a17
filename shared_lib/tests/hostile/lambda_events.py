"""Events that are none of ours. Expected: the function says which events it takes; no message is begun or lost."""

from __future__ import annotations

from typing import Any

from qualtrics_etl import lambda_handler
from qualtrics_etl.errors import ConfigurationError

from .case import Act, Arena, Case

RECORD = {
    "messageId": "m-1",
    "receiptHandle": "r-1",
    "body": "{}",
    "attributes": {"ApproximateReceiveCount": "1"},
    "messageAttributes": {},
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:parse_file",
}


class Context:
    """Lambda's context, with plenty of time."""

    def get_remaining_time_in_millis(self) -> int:
        """Return a minute."""
        return 60_000


def event(content: Any) -> Act:
    """Call a function with an event; nothing may be sent by it."""

    def act(arena: Arena) -> object:
        place = arena.place
        step = place.step("parse_file")
        handler = lambda_handler(type(step))
        handler.wire(step._wiring)
        try:
            return handler(content, Context())
        finally:
            assert place.waiting("parse_file") == []

    return act


def refused(name: str, content: Any) -> Case:
    """Return an event that the function does not take."""
    return Case(
        name,
        event(content),
        ConfigurationError,
        ("neither of its queue nor of what starts its service", "function.yml"),
    )


CASES = [
    refused("event_null", None),
    refused("event_list", [RECORD]),
    refused("event_text", "run"),
    refused("event_empty", {}),
    refused("event_of_storage", {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "../x"}}}]}),
    refused("event_of_a_topic", {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]}),
    refused("event_of_a_stream", {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": "e30="}}]}),
    refused("event_of_a_web_request", {"version": "2.0", "rawPath": "/../..", "body": "{}"}),
    refused("event_of_two_sources", {"Records": [RECORD, {"eventSource": "aws:s3"}]}),
    refused("event_records_object", {"Records": {"0": RECORD}}),
    refused("event_record_without_a_body", {"Records": [{k: v for k, v in RECORD.items() if k != "body"}]}),
    refused("event_record_count_negative", {"Records": [RECORD | {"attributes": {"ApproximateReceiveCount": "-1"}}]}),
    refused("event_tick_without_a_time", {"source": "aws.events"}),
    refused("event_tick_at_no_time", {"source": "aws.events", "time": "noon"}),
    refused("event_tick_in_no_zone", {"source": "aws.events", "time": "2026-11-22T09:00:00"}),
    refused("event_tick_number", {"source": "aws.events", "time": 1_900_000_000}),
    Case(
        "event_with_attributes_of_others",
        event({"Records": [RECORD | {"messageAttributes": None}]}),
        gives={"batchItemFailures": []},
    ),
]
