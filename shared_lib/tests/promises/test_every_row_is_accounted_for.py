"""Every row of a file ends as exactly one of loaded, updated, skipped, rejected or pending, whatever Qualtrics says."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from qualtrics_etl import Contact, ImportContacts, RowContext, RowRejectedError, RowSkippedError, RowValues
from qualtrics_etl.ledger import Entry, Ledger, State, entry_key
from qualtrics_etl.messages import ContactsImported, FileParsed, Message
from qualtrics_etl.receipt import Sums, write_receipt
from qualtrics_etl.steps import import_contacts
from qualtrics_etl.steps.import_report import REPORT_TRIES
from qualtrics_etl.steps.waivers import Waivers

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

RUN = "acme-etl-0123456789ab"
REPORT = "*/report"
BAD_ADDRESS = "nobody@client"
BAD_LANGUAGE = "Hochdeutsch"


class ImportMixed(ImportContacts):
    """Does with a row what its column `fate` says."""

    @override
    def keep_row(self, row: RowValues, *, context: RowContext) -> bool:
        if row["fate"] == "skipped with a reason":
            raise RowSkippedError("Has opted out.", field="fate")
        return row["fate"] != "skipped"

    @override
    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        if row["fate"] == "rejected":
            raise RowRejectedError("Not this one.", field="fate")
        note: dict[str, str] = {}
        contact = Contact(
            email=BAD_ADDRESS if row["fate"] == "bad address" else row["email"],
            ext_ref=row["email"],
            language=BAD_LANGUAGE if row["fate"] == "refused" else "EN",
            embedded_data=note,
        )
        # Behind the contact's own checks: Qualtrics may know limits that we don't.
        note |= {"note": "x" * 1025} if row["fate"] == "unprocessed" else {}
        return contact


def file_of(*fates: str) -> bytes:
    """Return a file with a row for each of these; `bad row` is one that the parser refuses."""
    lines = ["email,fate", *(f"p{n}@client.example,{fate}" for n, fate in enumerate(fates))]
    return "\n".join(line + ",one too many" * line.endswith("bad row") for line in lines).encode() + b"\n"


def run_file(place: Place, *fates: str, rows_per_batch: int = 100) -> tuple[list[str], Sums]:
    """Let a file go through; return its receipt."""
    place.steps["import_contacts"] = ImportMixed
    place.settings["parse_file"] = {"max_reject_ratio": 1.0, "rows_per_batch": rows_per_batch}
    place.begin(file_of(*fates))
    place.run()
    return receipt_of(place)


def receipt_of(place: Place) -> tuple[list[str], Sums]:
    """Return the lines of the receipt, and its sums."""
    out = io.StringIO()
    sums = write_receipt(place.workflow, place.bucket, RUN, "import_contacts", out)
    return out.getvalue().splitlines()[1:], sums


def outcomes(lines: list[str]) -> list[str]:
    """Return the outcome of each row, in the order of the file."""
    return [line.split(",")[1] for line in lines]


def imported(place: Place, batch: str = "00000") -> ContactsImported:
    """Return what the ledger counts of a batch."""
    entry = place.entry("import_contacts", batch)
    assert entry is not None
    assert isinstance(entry.fact, ContactsImported)
    return entry.fact


def test_receipt_has_each_row_once(place: Place) -> None:
    """What parser, hooks and Qualtrics made of each row, in the order of the file, with the reason."""
    lines, sums = run_file(
        place, "good", "bad row", "skipped", "skipped with a reason", "rejected", "bad address", "good"
    )
    assert lines == [
        "2,loaded,,",
        '3,rejected,,"has 3 cells, the header has 2"',
        "4,skipped,,keep_row left it out.",
        "5,skipped,fate,Has opted out.",
        "6,rejected,fate,Not this one.",
        (
            '7,rejected,email,"Qualtrics refused it: invalidEmails, importStatus FAILURE, importStatusCode 400,'
            ' contactListContactStatus FAILURE"'
        ),
        "8,loaded,,",
    ]
    assert (sums.is_balanced, sums.read, sums.outcomes.total()) == (True, 7, 7)
    assert place.text(f"rejects/{RUN}/import_contacts/00000.csv").splitlines()[1:] == [
        "6,fate,Not this one.,",
        (
            '7,email,"Qualtrics refused it: invalidEmails, importStatus FAILURE, importStatusCode 400,'
            ' contactListContactStatus FAILURE",'
        ),
    ]


def test_ledger_and_receipt_agree(place: Place) -> None:
    """The counts of the ledger are those of the receipt's lines."""
    _, sums = run_file(place, "good", "bad address", "skipped", "rejected", "bad row", "good", rows_per_batch=2)
    facts = [imported(place, f"0000{number}") for number in range(3)]
    parsed = place.entry("parse_file")
    assert parsed is not None
    assert isinstance(parsed.fact, FileParsed)
    assert sums.outcomes == {
        "loaded": sum(fact.loaded for fact in facts),
        "skipped": sum(fact.skipped for fact in facts),
        "rejected": sum(fact.rejected for fact in facts) + parsed.fact.rejected_rows,
    }


@pytest.mark.parametrize(
    "scenarios",
    [
        ["one_based_report"],
        ["short_report_pages"],
        ["unknown_report_words"],
        ["one_based_report", "short_report_pages", "unknown_report_words"],
        ["lagging_report:1"],
        ["report_not_found:2"],
        ["server_error:3"],
        ["throttle:2"],
    ],
    ids=str,
)
def test_rows_that_failed_are_found(place: Place, scenarios: list[str]) -> None:
    """However the report counts, speaks, or keeps us waiting: the rows that failed are rejected, no others."""
    place.fault("unnamed_failures", count=None)
    for scenario in scenarios:
        name, _, count = scenario.partition(":")
        path = REPORT if name in ("server_error", "throttle", "report_not_found") else ""
        place.fault(name, count=int(count) if count else None, path=path)
    lines, sums = run_file(place, "good", "bad address", "good", "good", "bad address")
    assert outcomes(lines) == ["loaded", "rejected", "loaded", "loaded", "rejected"]
    assert (sums.is_balanced, len(place.members()), place.scheduled()) == (True, 3, ["Invite", "Reminder"])


def test_report_that_never_comes_leaves_rows_pending(place: Place) -> None:
    """After so many tries the rows of which nothing is known are pending, with the reason; the run goes on."""
    place.fault("report_not_found", count=None)
    place.fault("untold_row")
    lines, sums = run_file(place, "good", "good", "good")
    assert (sums.outcomes, sums.is_balanced) == (Counter(pending=3), True)
    assert lines[0] == (
        '2,pending,,"Qualtrics says nothing definite: not in the report of the import (added 2, updated 0, failed 0).'
        ' report_contact_import: status 404 The requested resource does not exist."'
    )
    assert place.calls("GET /report") == REPORT_TRIES
    assert place.scheduled() == ["Invite", "Reminder"]


def test_row_that_is_left_open_is_pending_with_what_was_said(place: Place) -> None:
    """What the counts leave out and the report does not settle is pending, with Qualtrics' own word."""
    place.fault("untold_row")
    lines, sums = run_file(place, "good", "good")
    assert lines == [
        "2,loaded,,",
        (
            '3,pending,,"Qualtrics says nothing definite: importStatus DEFERRED, contactListContactStatus DEFERRED'
            ' (added 1, updated 0, failed 0)."'
        ),
    ]
    assert (sums.is_balanced, imported(place).pending) == (True, 1)


@pytest.mark.parametrize("scenarios", [[], ["one_based_report"], ["unprocessed_addresses"]], ids=str)
def test_rows_refused_at_once_are_found(place: Place, scenarios: list[str]) -> None:
    """What `unprocessed` names, by position from 0 or 1 or by address, is rejected."""
    for scenario in scenarios:
        place.fault(scenario)
    lines, sums = run_file(place, "good", "unprocessed", "skipped", "good", "unprocessed")
    assert outcomes(lines) == ["loaded", "rejected", "skipped", "loaded", "rejected"]
    assert (sums.is_balanced, len(place.members())) == (True, 2)


def test_known_contacts_are_updated(place: Place) -> None:
    """Where the directory knew all of a batch, or none, each row says which."""
    run_file(place, "good", "good")
    place.send(place.message("parse_file", place.file(file_of("good", "good")), run=f"{RUN}-2"))
    place.run()
    out = io.StringIO()
    write_receipt(place.workflow, place.bucket, f"{RUN}-2", "import_contacts", out)
    assert outcomes(out.getvalue().splitlines()[1:]) == ["updated", "updated"]


def test_new_and_known_in_one_batch_are_told_apart_as_far_as_qualtrics_does(place: Place) -> None:
    """Where it only counts them, they are loaded, with the note; the counts are right."""
    run_file(place, "good")
    place.send(place.message("parse_file", place.file(file_of("good", "good", "good")), run=f"{RUN}-2"))
    place.run()
    out = io.StringIO()
    write_receipt(place.workflow, place.bucket, f"{RUN}-2", "import_contacts", out)
    assert out.getvalue().splitlines()[1] == '2,loaded,,"New or known: of this import, 2 are new and 1 were known."'
    entry = place.entry("import_contacts", "00000", run=f"{RUN}-2")
    assert entry is not None
    assert entry.fact is not None
    assert (entry.fact.loaded, entry.fact.updated) == (2, 1)  # type: ignore[attr-defined]  # the fact of an import


def test_no_report_is_read_where_counts_tell_all(place: Place) -> None:
    """A batch that came in whole costs no request more."""
    run_file(place, "good", "skipped", "good")
    assert place.calls("GET /report") == 0


def test_report_is_always_read_when_asked_for(place: Place) -> None:
    """With `report: always`, each batch's report is read."""
    place.settings["import_contacts"] = {"report": "always"}
    lines, _ = run_file(place, "good", "good", "good", rows_per_batch=2)
    assert (place.calls("GET /report"), outcomes(lines)) == (2, ["loaded"] * 3)


# --- refused as a whole ---------------------------------------------------------------------------------------------


def test_row_that_refuses_a_whole_call_is_found_by_halves(place: Place) -> None:
    """The call is halved down to the one row, which is rejected with Qualtrics' words; all others come in, once."""
    lines, sums = run_file(place, *["good"] * 9, "refused", *["good"] * 6)
    assert lines[9] == (
        "11,rejected,,Qualtrics refused it: status 400 QVAL_1 contacts[0].language is not a language code"
    )
    assert Counter(outcomes(lines)) == Counter(loaded=15, rejected=1)
    assert (sums.is_balanced, len(place.members()), place.letters("import_contacts")) == (True, 15, [])
    assert place.calls("POST /transactioncontacts") == 9  # 16, 8, 4, 2, 1 refused; as many halves accepted
    assert place.scheduled() == ["Invite", "Reminder"]
    whole = place.entry("import_contacts", "00000")
    assert whole is not None
    assert (whole.state, whole.skipped) == (
        State.DONE,
        "Qualtrics refused it as a whole: its halves take its place.",
    )


def test_single_row_that_is_refused_is_rejected(place: Place) -> None:
    """A batch of one row that is refused is a rejected row, not a dead letter."""
    lines, sums = run_file(place, "skipped", "refused", "skipped")
    assert (outcomes(lines), sums.is_balanced) == (["skipped", "rejected", "skipped"], True)
    assert (place.letters("import_contacts"), place.calls("POST /transactioncontacts")) == ([], 1)


def test_setting_that_refuses_everything_costs_few_calls(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halving ends after so many parts; the rest waits with the cause, and comes in when that is mended."""
    monkeypatch.setattr(import_contacts, "MAX_PARTS_OF_BATCH", 6)
    place.fault("refused_import", count=None)
    lines, sums = run_file(place, *["good"] * 64)
    assert Counter(outcomes(lines)) == Counter(unaccounted=64)
    assert (sums.is_balanced, sums.unaccounted_lines) == (False, "2-65")
    assert place.calls("POST /transactioncontacts") == 1 + 6
    letters = place.letters("import_contacts")
    assert "it is not some single row" in letters[0].attributes["cause"]
    assert "waits in the dead-letter queue of import_contacts: start_contact_import: status 400" in lines[0]
    assert place.scheduled() == []

    place.simulator.disarm()
    place.redrive("import_contacts")
    place.run()
    lines, sums = receipt_of(place)
    assert (Counter(outcomes(lines)), sums.is_balanced, len(place.members())) == (Counter(loaded=64), True, 64)
    assert place.scheduled() == ["Invite", "Reminder"]


def test_halving_is_bounded_over_a_whole_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches that are all refused don't each begin their own search."""
    monkeypatch.setattr(import_contacts, "MAX_PARTS_OF_RUN", 4)
    place.fault("refused_import", count=None)
    run_file(place, *["good"] * 40, rows_per_batch=4)
    assert place.calls("POST /transactioncontacts") == 10 + 4
    assert len(place.letters("import_contacts")) == 8 + 4
    assert {letter.attributes["remedy"].rpartition(". ")[2] for letter in place.letters("import_contacts")} == {
        "If many rows are, have the client correct the file, then give this batch up (make waive)."
    }


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "No."), (404, "No."), (400, "Invalid mailingListId parameter."), (400, "Directory POOL_1 is not yours.")],
)
def test_refusal_of_the_place_is_not_halved(place: Place, status: int, words: str) -> None:
    """A wrong list, directory or right refuses every part: the batch waits whole, after one call."""
    from qualtrics_etl.qualtrics import Response

    send = place.transport.send
    refusal = b'{"meta": {"error": {"errorMessage": "%s", "errorCode": "X_1"}}}' % words.encode()

    def refuse(request: object) -> Response:
        if request.path.endswith("/transactioncontacts"):  # type: ignore[attr-defined]  # a Request
            return Response(status, {}, refusal)
        return send(request)  # type: ignore[arg-type]  # a Request

    place.transport.send = refuse  # type: ignore[method-assign, assignment]  # the network answers otherwise
    lines, _ = run_file(place, "good", "good")
    assert outcomes(lines) == ["unaccounted", "unaccounted"]
    assert len(place.letters("import_contacts")) == 1
    assert place.keys(f"ledger/{RUN}/import_contacts/") == [f"ledger/{RUN}/import_contacts/00000"]


# --- where workers stop, and time is short --------------------------------------------------------------------------


def test_long_report_is_read_on_in_a_later_call(place: Place) -> None:
    """A report of many pages goes on behind the last page that was kept, when the function's time runs short."""
    place.fault("short_report_pages", count=None)
    place.meanwhile(
        "put payloads/acme-etl-0123456789ab/import_contacts/jobs", lambda: setattr(place, "remaining_seconds", 1)
    )
    place.steps["import_contacts"] = ImportMixed
    place.settings["parse_file"] = {"max_reject_ratio": 1.0}
    place.begin(file_of("good", "bad address", *["good"] * 5))
    place.run(until=lambda: place.remaining_seconds == 1)
    assert place.calls("GET /report") == 1
    place.remaining_seconds = 60
    place.run()
    lines, sums = receipt_of(place)
    assert (Counter(outcomes(lines)), sums.is_balanced) == (Counter(loaded=6, rejected=1), True)
    assert place.calls("GET /report") == 4


@pytest.mark.parametrize("what", ["put payloads/acme-etl-0123456789ab/import_contacts/requests/00000-rows", "/report"])
@pytest.mark.parametrize("after", [False, True])
def test_worker_that_dies_counts_nothing_twice(place: Place, what: str, after: bool) -> None:
    """Killed while outcomes are written or the report is read: the next one comes to the same end."""
    place.mishap(what, after=after, skip=1 if "rows" in what else 0)
    lines, sums = run_file(place, "good", "bad address", "skipped", "good")
    assert outcomes(lines) == ["loaded", "rejected", "skipped", "loaded"]
    fact = imported(place)
    assert (fact.loaded, fact.rejected, fact.skipped, fact.pending, sums.is_balanced) == (2, 1, 1, 0, True)


def test_waiting_run_says_which_rows_are_unaccounted_for(place: Place) -> None:
    """A run under way has a line a row too: those of batches that are not done, with what they wait for."""
    place.steps["import_contacts"] = ImportMixed
    place.settings["parse_file"] = {"max_reject_ratio": 1.0, "rows_per_batch": 2}
    place.begin(file_of("good", "bad row", "good", "good", "good"))
    place.run(until=lambda: place.entry("create_mailing_list") is not None)
    lines, sums = receipt_of(place)
    assert outcomes(lines) == ["unaccounted", "rejected", *["unaccounted"] * 3]
    assert (sums.is_balanced, sums.unaccounted_lines, sums.missing) == (False, "2, 4-6", 0)
    assert "has not come to import_contacts yet" in lines[0]


def test_file_that_was_refused_as_a_whole_has_a_receipt(place: Place) -> None:
    """Its bad rows are rejected, its good ones unaccounted for, since nothing of it went on."""
    place.steps["import_contacts"] = ImportMixed
    place.begin(file_of("bad row", "bad row", "good"))
    place.run()
    lines, _ = receipt_of(place)
    assert outcomes(lines) == ["rejected", "rejected", "unaccounted"]
    assert "parse_file refused the file as a whole" in lines[2]


def test_file_that_was_given_up_has_a_receipt(place: Place) -> None:
    """Its bad rows are rejected, its good ones waived with the reason, and every row has an outcome."""
    place.steps["import_contacts"] = ImportMixed
    place.begin(file_of("bad row", "bad row", "good"))
    place.run()
    Waivers(place.workflow, place.bucket, place.queues).waive(RUN, "parse_file", None, "sent anew as a file")
    lines, sums = receipt_of(place)
    assert outcomes(lines) == ["rejected", "rejected", "waived"]
    assert (lines[2], sums.is_balanced) == ("4,waived,,sent anew as a file", True)
    place.redrive("parse_file")
    place.run()
    assert (place.letters("parse_file"), place.lists()) == ([], [])


def test_halves_that_were_given_up_at_an_earlier_importer_are_waived_at_the_later(
    place: Place, contacts: Callable[..., bytes]
) -> None:
    """The later one never hears of them, and its receipt has their rows all the same."""
    place.use(
        "fetch_sftp_file",
        "parse_file",
        "create_mailing_list",
        "import_contacts",
        "import_again",
        "schedule_distribution",
        import_again={"kind": "import_contacts"},
        parse_file={"settings": {"rows_per_batch": 2}},
    )
    place.begin(contacts(4))
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    halve(place, "00001")
    for half in ("00001.0", "00001.1"):
        Waivers(place.workflow, place.bucket, place.queues).waive(RUN, "import_contacts", half, "sent anew")
    place.run()
    for importer in ("import_contacts", "import_again"):
        out = io.StringIO()
        sums = write_receipt(place.workflow, place.bucket, RUN, importer, out)
        assert outcomes(out.getvalue().splitlines()[1:])[2:] == ["waived", "waived"], importer
        assert sums.is_balanced


def halve(place: Place, batch: str) -> None:
    """Let the first importer cut a batch in two, as where it is too large for a request."""
    step = place.step("import_contacts")
    assert isinstance(step, ImportContacts)
    received = place.queues.of("import_contacts").receive(max_messages=10)
    message = next(each for each in (Message.decode(r.body) for r in received) if each.batch == batch)
    split = step._split(message, step._halve(message, step._batch(message)), "too large")
    entry = step._done(message, split, Entry(State.DONE))
    Ledger(place.bucket).claim(entry_key(RUN, "import_contacts", batch), entry)


FATES = ["good", "good", "good", "bad row", "skipped", "skipped with a reason", "rejected", "bad address", "refused"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fates=st.lists(st.sampled_from([*FATES, "unprocessed"]), min_size=1, max_size=24),
    rows_per_batch=st.integers(1, 8),
    scenarios=st.sets(
        st.sampled_from(
            [
                "one_based_report",
                "short_report_pages",
                "unknown_report_words",
                "untold_row",
                "unnamed_failures",
                "unprocessed_addresses",
            ]
        ),
        max_size=3,
    ),
)
def test_any_mix_of_rows_has_exactly_one_line_a_row(
    place: Place, fates: list[str], rows_per_batch: int, scenarios: set[str]
) -> None:
    """Whatever becomes of the rows, in whatever batches: one line each, and those that came in are the members."""
    place.simulator.reset()
    place.bucket._objects.clear()
    place.bucket._keys.clear()
    place.rebuild_queues()
    place.clock.advance(timedelta(hours=1).total_seconds())
    for scenario in scenarios:
        place.fault(scenario, count=None)
    lines, sums = run_file(place, *fates, rows_per_batch=rows_per_batch)
    assert [int(line.split(",")[0]) for line in lines] == list(range(2, len(fates) + 2))
    became = outcomes(lines)
    assert (sums.is_balanced, sums.read) == ("unaccounted" not in became, len(fates))
    # An import of which nothing at all is counted is one into a list that does not exist: its batch waits.
    lost = {"unaccounted"} if "untold_row" in scenarios else set[str]()
    for fate, outcome in zip(fates, became, strict=True):
        expected = {
            "good": {"loaded", "pending"},
            "bad row": {"rejected"},
            "skipped": {"skipped"},
            "skipped with a reason": {"skipped"},
            "rejected": {"rejected"},
            "bad address": {"rejected", "pending"},
            "refused": {"rejected"},
            "unprocessed": {"rejected", "pending"},
        }[fate]
        assert outcome in expected | (set() if fate == "bad row" else lost), fate
    came_in = set(place.members())
    for number, (fate, outcome) in enumerate(zip(fates, became, strict=True)):
        if outcome in ("loaded", "updated"):
            assert f"p{number}@client.example" in came_in
        if outcome in ("rejected", "skipped"):
            assert fate != "good"
            assert f"p{number}@client.example" not in came_in
    if not scenarios & {"untold_row", "unknown_report_words"}:
        assert "pending" not in became
