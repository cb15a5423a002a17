"""Contact imports: what is sent, when a job is over, and when it only looks so."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import PermanentError, RetryableError, RowRejectedError
from qualtrics_etl.qualtrics import Contact, ImportProgress, ImportStarted, ReportEntry, contact_imports

if TYPE_CHECKING:
    from conftest import Api

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf"]), max_size=20)


class Colour(StrEnum):
    RED = "red"


def test_body_has_the_names_of_the_api_and_no_nulls() -> None:
    """What a contact does not have is left out; what is false or zero is sent."""
    full = Contact(
        email="a@b.example",
        first_name="Anna",
        last_name="Müller",
        phone="+49 30 1",
        ext_ref="C1",
        language="DE",
        unsubscribed=False,
        embedded_data={"branch": "Nord", "visits": 0, "vip": True, "score": 1.5},
    )
    body = contact_imports.build_import_body([full, Contact(email="c@d.example")])
    assert orjson.loads(body) == {
        "contacts": [
            {
                "email": "a@b.example",
                "firstName": "Anna",
                "lastName": "Müller",
                "phone": "+49 30 1",
                "extRef": "C1",
                "language": "DE",
                "unsubscribed": False,
                "embeddedData": {"branch": "Nord", "visits": 0, "vip": True, "score": 1.5},
            },
            {"email": "c@d.example"},
        ]
    }


@given(st.lists(st.builds(Contact, st.just("a@b.c"), TEXT, embedded_data=st.dictionaries(TEXT.filter(bool), TEXT))))
def test_every_contact_that_can_be_made_can_be_sent(contacts: list[Contact]) -> None:
    """A contact is judged when it is made, so that one row never stops a batch, and nothing is changed on its way."""
    sent = orjson.loads(contact_imports.build_import_body(contacts))["contacts"]
    assert [(contact["firstName"], contact.get("embeddedData", {})) for contact in sent] == [
        (contact.first_name, contact.embedded_data) for contact in contacts
    ]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"email": ""}, "email is not an e-mail address."),
        ({"email": None}, "email is not an e-mail address."),
        ({"email": "anna"}, "email is not an e-mail address."),
        ({"email": "a @b.c"}, "email is not an e-mail address."),
        ({"email": "a@b.c\n"}, "email is not an e-mail address."),
        ({"email": "a" * 250 + "@b.cd"}, "email is not an e-mail address."),
        ({"email": "\ud800@b.c"}, "email holds what is not a character."),
        ({"first_name": "x" * 1_025}, "first_name has 1,025 characters, more than 1,024."),
        ({"last_name": "\ud800"}, "last_name holds what is not a character."),
        ({"phone": 49301}, "phone is of type int, not a text."),
        ({"unsubscribed": "true"}, "unsubscribed is neither True nor False."),
        ({"embedded_data": {"": "x"}}, "embedded_data has a value without a name."),
        ({"embedded_data": {7: "x"}}, "embedded_data is of type int, not a text."),
        ({"embedded_data": {"n" * 201: "x"}}, "embedded_data has 201 characters, more than 200."),
        ({"embedded_data": {"\ud800": "x"}}, "embedded_data holds what is not a character."),
        ({"embedded_data": {"a": "x" * 1_025}}, "embedded_data.a has 1,025 characters, more than 1,024."),
        ({"embedded_data": {"a": "\ud800"}}, "embedded_data.a holds what is not a character."),
        (
            {"embedded_data": {"a": None}},
            "embedded_data.a is of type NoneType: texts, numbers and booleans can be sent.",
        ),
        (
            {"embedded_data": {"a": date(2026, 1, 1)}},
            "embedded_data.a is of type date: texts, numbers and booleans can be sent.",
        ),
        (
            {"embedded_data": {"a": Colour.RED}},
            "embedded_data.a is of type Colour: texts, numbers and booleans can be sent.",
        ),
        (
            {"embedded_data": {"a": float("nan")}},
            "embedded_data.a is not a number that arrives as it is: send it as a text.",
        ),
        (
            {"embedded_data": {"a": 2**53}},
            "embedded_data.a is not a number that arrives as it is: send it as a text.",
        ),
    ],
)
def test_contact_that_cannot_be_sent_is_rejected_with_its_field(fields: dict[str, object], text: str) -> None:
    """The reason names the field and never its content."""
    with pytest.raises(RowRejectedError) as caught:
        Contact(**{"email": "a@b.example", **fields})  # type: ignore[arg-type]
    assert (str(caught.value), caught.value.field) == (text, text.split(" ")[0].rstrip("."))


def test_longest_values_are_taken() -> None:
    """A bound is part of what it bounds."""
    Contact(email="a@" + "b" * 252, first_name="ü" * 1_024, embedded_data={"n" * 200: "ü" * 1_024})


def test_contact_shows_no_person() -> None:
    """A contact in a log line or a traceback gives nobody away."""
    contact = Contact("a@b.c", "A", "B", "1", "2", "DE", True, {"secret": "x"})
    assert repr(contact) == "Contact(language='DE', unsubscribed=True)"


def test_too_many_contacts_are_refused() -> None:
    """Qualtrics takes 10,000 in a call."""
    contacts = [Contact("a@b.c")] * 10_001
    assert contact_imports.build_import_body(contacts[1:])
    with pytest.raises(PermanentError) as caught:
        contact_imports.build_import_body(contacts)
    assert str(caught.value) == (
        "An import of 10,001 contacts is more than Qualtrics takes (10,000). "
        "Lower rows_per_batch of parse_file in workflow.yml."
    )


def test_too_many_bytes_are_refused() -> None:
    """Qualtrics takes 5 MB in a call."""
    contact = Contact("a@b.c", embedded_data={"a": "x" * 1_000})
    with pytest.raises(PermanentError) as caught:
        contact_imports.build_import_body([contact] * 5_000)
    assert "bytes is more than Qualtrics takes (5,000,000)" in caught.value.what


def start(api: Api) -> ImportStarted:
    """Start an import of anything."""
    return contact_imports.start(api.client, "POOL_1", "CG_1", b"{}")


def test_import_is_started(api: Api) -> None:
    """The bytes go to the list's imports, and the job's id comes back."""
    api.answers({"id": "PGRS_1", "contacts": {"unprocessed": []}, "status": "inProgress"}, status=202)
    assert start(api) == ImportStarted("PGRS_1", ())
    [sent] = api.requests
    path = "/API/v3/directories/POOL_1/mailinglists/CG_1/transactioncontacts"
    assert (sent.method, sent.path, sent.body) == ("POST", path, b"{}")


def test_refused_rows_are_read_in_every_form(api: Api) -> None:
    """Positions come as numbers or as texts, and what is named otherwise is at least counted."""
    api.answers({"id": "PGRS_1", "contacts": {"unprocessed": [3, "7", "a@b.c", {"email": "x"}]}}, status=202)
    assert start(api).unprocessed == (3, 7, "a@b.c", "")


@pytest.mark.parametrize("result", [{}, {"id": None}, {"id": ""}, None])
def test_started_import_without_an_id_is_in_doubt(api: Api, result: object) -> None:
    """A null id is a failure whose effect is not known."""
    api.answers(result, status=202)
    with pytest.raises(RetryableError) as caught:
        start(api)
    assert caught.value.call_made is True


def progress(percent: object, status: object, added: int = 0, updated: int = 0, failed: int = 0) -> dict[str, object]:
    """Build the answer of a look."""
    count = {"added": added, "updated": updated, "failed": failed}
    return {"percentComplete": percent, "status": status, "contacts": {"count": count}}


def look(api: Api, contacts_sent: int = 10) -> ImportProgress:
    """Look at an import of ten contacts."""
    return contact_imports.look(api.client, "POOL_1", "CG_1", "PGRS_1", contacts_sent=contacts_sent)


@pytest.mark.parametrize("status", ["complete", "Completed", "COMPLETE", None, "anything"])
def test_full_percentage_with_counts_is_complete(api: Api, status: object) -> None:
    """The percentage ends a job, whatever its status is called."""
    api.answers(progress(100.0, status, 7, 2, 1))
    assert look(api) == ImportProgress(100.0, status or "", 7, 2, 1, True)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["inProgress", "in progress", "IN_PROGRESS", "queued", None])
def test_running_job_is_not_complete(api: Api, status: object) -> None:
    """A job that is at work is looked at again."""
    api.answers(progress(42.5, status, 4))
    assert look(api) == ImportProgress(42.5, status or "", 4, 0, 0, False)  # type: ignore[arg-type]


def test_full_percentage_that_still_runs_is_looked_at_again(api: Api) -> None:
    """A job that says that it runs and has counted nothing is neither success nor failure."""
    api.answers(progress(100.0, "inProgress"))
    assert look(api).is_complete is False


@pytest.mark.parametrize("status", ["complete", None, ""])
def test_job_that_did_nothing_is_a_failure(api: Api, status: object) -> None:
    """100 percent with 0/0/0 is how a list or directory looks that does not exist."""
    api.answers(progress(100.0, status))
    with pytest.raises(PermanentError) as caught:
        look(api)
    assert str(caught.value) == (
        "look_at_contact_import: import PGRS_1 ended, but none of 10 contacts came in. [request r-1] "
        "Check qualtrics.directory_id in config/dev.yml and the mailing list of the run: "
        "Qualtrics does not complain of ids that do not exist."
    )


@pytest.mark.parametrize(("said", "read"), [(["a@b", 7, None], ("a@b",)), (None, ()), ("a@b", ())])
def test_invalid_addresses_are_read_where_they_are_named(api: Api, said: object, read: tuple[str, ...]) -> None:
    """Addresses that Qualtrics calls invalid are read; what is no list of texts says nothing."""
    api.answers({**progress(100.0, "complete", added=1), "invalidEmails": said})
    assert look(api).invalid_emails == read


def test_job_that_had_nothing_to_do_is_complete(api: Api) -> None:
    """An empty batch ends well with 0/0/0."""
    api.answers(progress(100.0, "complete"))
    assert look(api, contacts_sent=0) == ImportProgress(100.0, "complete", 0, 0, 0, True)


@pytest.mark.parametrize("status", ["failed", "Failed", "FAILURE", "error", "timed out"])
def test_failed_job_is_a_failure_though_the_call_went_well(api: Api, status: str) -> None:
    """A failed job answers 200, perhaps without counts or percentage."""
    api.answers({"status": status, "percentComplete": None})
    with pytest.raises(PermanentError) as caught:
        look(api)
    assert f"import PGRS_1 has failed (status '{status}')" in caught.value.what


@pytest.mark.parametrize("percent", [None, "", "nan", "inf", True, []])
def test_progress_without_a_percentage_is_tried_again(api: Api, percent: object) -> None:
    """An answer that says nothing is no progress."""
    api.answers({"status": "inProgress", "percentComplete": percent})
    with pytest.raises(RetryableError) as caught:
        look(api)
    assert caught.value.call_made is False


def entry(position: str, **more: str) -> dict[str, str]:
    """Build a line of the report."""
    return {"sourceIndexId": position, "email": "a@b.c", "importStatus": "s", "importStatusCode": "c", **more}


def report(api: Api) -> list[ReportEntry]:
    """Read a whole report."""
    page = contact_imports.read_report_page(api.client, "POOL_1", "PGRS_1")
    entries = list(page.entries)
    while page.next_token:
        page = contact_imports.read_report_page(api.client, "POOL_1", "PGRS_1", page.next_token)
        entries += page.entries
    return entries


@pytest.mark.parametrize("inside", [True, False])
def test_report_is_read_over_all_pages(api: Api, inside: bool) -> None:
    """The report says results, and its token may stand inside or beside them."""
    first = entry("0", contactId="CID_1", contactListContactId="CGC_1", contactListContactStatus="added")
    results: dict[str, object] = {"importReportEntries": [first]}
    token = {"skipToken": "t+1"}
    api.raw(200, orjson.dumps({"results": results | token} if inside else {"results": results, **token}))
    api.raw(200, orjson.dumps({"results": {"importReportEntries": [entry("x")]}, "skipToken": None}))
    assert report(api) == [
        ReportEntry(0, "a@b.c", "CID_1", "s", "c", "CGC_1", "added"),
        ReportEntry(None, "a@b.c", None, "s", "c", None, ""),
    ]
    assert [request.query for request in api.requests] == [{}, {"skipToken": "t+1"}]
    assert api.requests[0].path == "/API/v3/directories/POOL_1/imports/api-import/jobs/PGRS_1/report"


def test_report_that_leads_in_a_circle_ends(api: Api) -> None:
    """A page that names itself as its next is an error, not an endless loop."""
    for token in "abb":
        api.raw(200, orjson.dumps({"results": {"importReportEntries": []}, "skipToken": token}))
    with pytest.raises(RetryableError) as caught:
        report(api)
    assert "leads in a circle" in caught.value.what
