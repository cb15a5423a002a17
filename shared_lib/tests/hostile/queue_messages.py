"""Messages that we did not write. Expected: a dead letter with cause and remedy, and no work done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.messages import FileFetched, FileParsed, MailingListCreated, Message, Ticked
from qualtrics_etl.ports import Outgoing

from .case import Act, Arena, Case

RUN = "acme-etl-0123456789ab"
GOOD: dict[str, Any] = {
    "version": 1,
    "workflow": "acme-etl",
    "run": RUN,
    "service": "parse_file",
    "batch": "all",
    "generation": 0,
    "looks": 0,
    "expires_at": 1_900_000_000,
    "context": {"FileFetched": {"name": "a.csv", "key": "payloads/x", "size": 1, "sha256": "0"}},
}


def text(body: str) -> Act:
    """Decode a body."""
    return lambda _: Message.decode(body)


def changed(**fields: object) -> Act:
    """Decode our message with other fields."""
    return text(orjson.dumps(GOOD | fields).decode())


def raw(field: str, json: str) -> Act:
    """Decode our message with a field written as no JSON writer of ours would."""
    body = orjson.dumps(GOOD | {field: "HERE"}).decode()
    return text(body.replace('"HERE"', json))


def fact(**fields: object) -> Act:
    """Decode our message with another fact."""
    return changed(context={"FileFetched": GOOD["context"]["FileFetched"] | fields})


def refused(name: str, act: Act, *says: str) -> Case:
    """Return a message that can't be read."""
    return Case(name, act, PermanentError, ("The message can't be read", *says))


def letter_for(service: str, body: str, **attributes: str) -> Act:
    """Put a body into a service's queue; return why it lies among the dead letters, and that nothing was called."""

    def act(arena: Arena) -> str:
        place = arena.place
        place.queues.of(service).send([Outgoing(body, attributes=attributes)])
        place.deliver(service)
        assert place.transport.sent == []
        assert len(place.letters(service)) == 1
        return place.cause(service)

    return act


def message(service: str, *facts: Any, **fields: Any) -> str:
    """Return a message of ours, but for these fields."""
    usual = {"workflow": "acme-etl", "run": RUN, "batch": "all", "expires_at": datetime(2026, 12, 1, tzinfo=UTC)}
    return Message(**{**usual, **fields}, service=service, context=facts).encode()


def key_of(key: str) -> Act:
    """Let a message lead parsing to a key."""
    return letter_for("parse_file", message("parse_file", FileFetched("a.csv", key, 1, "0")))


def batches_at(place: str) -> Act:
    """Let a message lead importing to a key."""
    facts = (FileParsed(1, place, 1, 1, 0), MailingListCreated("CG_1", "one"))
    return letter_for("import_contacts", message("import_contacts", *facts, batch="00000"))


ELSEWHERE = "its data lies below payloads/"
FAR = "9" * 400

CASES = [
    refused("message_not_json", text("hello"), "not JSON"),
    refused("message_empty", text(""), "not JSON"),
    refused("message_cut_off", text(orjson.dumps(GOOD).decode()[:-20]), "not JSON"),
    refused("message_of_xml", text("<message/>"), "not JSON"),
    refused("message_with_half_a_character", text('{"version": "\ud800"}'), "not JSON"),
    refused("message_with_half_an_escape", text('{"version": "\\ud800"}'), "not JSON"),
    refused("message_nested_100_000_deep", text("[" * 100_000), "not JSON"),
    refused("message_nested_1_000_deep", text('{"a":' * 1_000 + "1" + "}" * 1_000), "can't be read"),
    refused("message_of_megabytes", text("[" + "1," * 2_000_000 + "1]"), "not an object"),
    refused("message_with_a_version_of_megabytes", changed(version="v" * 3_000_000), "its version is no number"),
    refused("message_null", text("null"), "not an object"),
    refused("message_of_another_version", changed(version=2), "its version is 2"),
    refused("message_version_true", changed(version=True), "its version is no number"),
    refused("message_with_nan", raw("generation", "NaN"), "not JSON"),
    refused("message_with_infinity", raw("looks", "-Infinity"), "not JSON"),
    refused("message_with_a_key_twice", raw("looks", '0, "run": "other"'), "gives a key twice"),
    refused(
        "message_with_a_fact_twice", raw("context", '{"Ticked": {"scheduled_for": "a", "scheduled_for": "b"}}'), "twice"
    ),
    refused("message_generation_negative", changed(generation=-1), "`generation`"),
    refused("message_generation_huge", changed(generation=2**63), "`generation`"),
    refused("message_generation_of_400_digits", raw("generation", FAR), "can't be read"),
    refused("message_generation_fraction", changed(generation=0.5), "`generation`"),
    refused("message_looks_text", changed(looks="1"), "`looks`"),
    refused("message_expires_never", changed(expires_at=2**60), "`expires_at`"),
    refused("message_batch_path_traversal", changed(batch="../../ledger/x"), "`batch`"),
    refused("message_batch_of_dots", changed(batch=".."), "`batch`"),
    refused("message_batch_with_a_newline", changed(batch="00001\n"), "`batch`"),
    refused("message_run_with_a_slash", changed(run="a/b"), "`run`"),
    refused("message_run_of_other_digits", changed(run="run-\u0661"), "`run`"),
    refused("message_service_with_capitals", changed(service="PARSE_FILE"), "`service`"),
    refused("message_workflow_list", changed(workflow=["acme-etl"]), "`workflow`"),
    refused("message_context_list", changed(context=[]), "`context`"),
    refused("message_of_an_unknown_fact", changed(context={"f" * 9_000: {}}), "a fact this library does not know"),
    refused("message_fact_of_a_class_of_python", changed(context={"__class__": {}}), "does not know: '__class__'"),
    refused("message_fact_with_a_field_more", fact(shell="id"), "FileFetched has other fields"),
    refused("message_fact_of_another_type", fact(size="1"), "FileFetched.size is not of type int"),
    refused("message_fact_truth_for_a_count", fact(size=True), "FileFetched.size is not of type int"),
    refused("message_fact_null", changed(context={"FileFetched": None}), "FileFetched is not an object"),
    Case("letter_not_json", letter_for("parse_file", "\x09hello"), says=("can't be read", "Look who sent it")),
    Case(
        "letter_of_another_service",
        letter_for("parse_file", message("import_contacts")),
        says=("import_contacts reached the queue of parse_file", "its own service"),
    ),
    Case(
        "letter_of_an_unknown_service",
        letter_for("parse_file", message("mint_coins")),
        says=("mint_coins reached the queue of parse_file",),
    ),
    Case(
        "letter_of_another_workflow",
        letter_for("parse_file", message("parse_file", workflow="other-etl")),
        says=("workflow other-etl reached acme-etl", "Look who sent it"),
    ),
    Case(
        "letter_that_expired",
        letter_for("parse_file", message("parse_file", expires_at=datetime(2026, 11, 1, tzinfo=UTC))),
        says=(f"run {RUN} expired", "send the missing rows"),
    ),
    Case(
        "letter_with_an_attribute_that_is_no_count",
        letter_for(
            "fetch_sftp_file", message("fetch_sftp_file", Ticked("2026-11-22T09:00:00+00:00")), setting_looks="soon"
        ),
        says=("has no `sftp`", "host_key"),
    ),
    Case("letter_without_its_fact", letter_for("parse_file", message("parse_file")), says=("holds no FileFetched",)),
    Case("letter_key_path_traversal", key_of("payloads/../ledger/x"), says=("payloads/../ledger/x", ELSEWHERE)),
    Case("letter_key_outside", key_of("/etc/passwd"), says=("'/etc/passwd'", ELSEWHERE)),
    Case("letter_key_of_the_ledger", key_of(f"ledger/{RUN}/parse_file/all"), says=("'ledger/", ELSEWHERE)),
    Case("letter_key_of_nothing", key_of("payloads/none"), says=("There is no object payloads/none", "expires")),
    Case("letter_key_of_a_megabyte", key_of("k" * 100_000), says=("kkkk", ELSEWHERE)),
    Case(
        "letter_batches_of_another_run",
        batches_at("payloads/other-run/parse_file/batches"),
        says=("'payloads/other-run/",),
    ),
    Case(
        "letter_batches_path_traversal",
        batches_at(f"payloads/{RUN}/../other"),
        says=("/../other", "its data lies below"),
    ),
    Case(
        "letter_of_a_batch_that_is_not_there",
        batches_at(f"payloads/{RUN}/parse_file/batches"),
        says=("Batch 00000", "not in the store"),
    ),
    Case(
        "letter_with_a_generation_of_ages",
        letter_for("parse_file", message("parse_file", generation=10**11)),
        says=("holds no FileFetched",),
    ),
]
