"""Bad input: of a file, what is good goes on and the rest is kept; a wrong setting is named by the error.

Files go through the real steps into the simulator. What stops a run is told alike in the log and the dead letter.
"""

from __future__ import annotations

import csv
import gzip
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NotRequired

import asyncssh
import pytest
from pydantic import StringConstraints

from qualtrics_etl import ParseFile, Row
from qualtrics_etl.qualtrics import Request, Response
from qualtrics_etl.qualtrics.transport import translate

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place

RUN = "acme-etl-0123456789ab"
HEADER = b"email,first_name,note\n"
ANN = b"ann@client.example,Ann,\n"
BOB = b"bob@client.example,Bob,\n"
GOOD = ["ann@client.example", "bob@client.example"]
BAD_QUOTES = (
    "has a quote that is not closed within 1,000 lines and 1,000,000 bytes, or text behind a closing quote; "
    "quotes inside a cell must be doubled"
)
NO_ADDRESS = r"does not match the pattern ^[^@\s]+@[^@\s]+$"
NOT_UTF_8 = "is not utf-8; set `encoding` to what the file is written in, often cp1252"
NUL = "holds a NUL character; send the file as text, or set `encoding` to utf-16"


class CrmRow(Row):
    """A row of the client's file."""

    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]
    first_name: str
    note: NotRequired[str]


class ParseCrm(ParseFile):
    """Declares the row, as most clients do."""

    row_model = CrmRow


@dataclass(frozen=True)
class Mixed:
    """A file of which something goes on.

    Attributes:
        members: Who is in the mailing list.
        rejects: Line, field, reason and text of each row that is kept.
        settings: What `parse_file` is told.
    """

    name: str
    content: bytes
    members: list[str] = field(default_factory=lambda: GOOD)
    rejects: list[list[str]] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)


MIXED = [
    Mixed("byte_order_mark", b"\xef\xbb\xbf" + HEADER + ANN + BOB),
    Mixed("utf16_with_a_mark", (HEADER + ANN + BOB).decode().encode("utf-16")),
    Mixed("crlf", (HEADER + ANN + BOB).replace(b"\n", b"\r\n")),
    Mixed("old_mac_line_ends", (HEADER + ANN + BOB).replace(b"\n", b"\r")),
    Mixed("no_line_end_at_the_end", (HEADER + ANN + BOB).rstrip()),
    Mixed("other_delimiter_found", (HEADER + ANN + BOB).replace(b",", b";")),
    Mixed(
        "latin_1_bytes",
        HEADER + ANN + "zoe@client.example,Zoë,\n".encode("latin-1") + BOB,
        rejects=[["3", "", NOT_UTF_8, "zoe@client.example,Zo\ufffd,"]],
    ),
    Mixed(
        "latin_1_as_set",
        HEADER + ANN + "björn@client.example,Björn,\n".encode("latin-1"),
        members=["ann@client.example", "björn@client.example"],
        settings={"encoding": "latin-1"},
    ),
    Mixed(
        "nul",
        HEADER + ANN + b"eve@client.example,E\0ve,\n" + BOB,
        rejects=[["3", "", NUL, "eve@client.example,E\ufffdve,"]],
    ),
    Mixed(
        "quoted_newlines",
        HEADER + b'ann@client.example,Ann,"one\ntwo, ""three"""\nno address,Eve,"a\nb"\n' + BOB,
        rejects=[["4", "email", NO_ADDRESS, 'no address,Eve,"a\nb"']],
    ),
    Mixed(
        "unclosed_quote",
        HEADER + ANN + b'eve@client.example,"Eve,\n' + BOB,
        rejects=[["3", "", BAD_QUOTES, 'eve@client.example,"Eve,']],
    ),
    Mixed("optional_column_missing", b"email,first_name\nann@client.example,Ann\nbob@client.example,Bob\n"),
    Mixed(
        "repeated_column_that_nobody_uses",
        b"x,email,first_name,x\n,ann@client.example,Ann,\n,bob@client.example,Bob,\n",
    ),
    Mixed(
        "short_and_long_rows",
        HEADER + ANN + b"eve@client.example\n" + b"eve@client.example,Eve,,,\n" + BOB,
        rejects=[
            ["3", "", "has 1 cell, the header has 3", "eve@client.example"],
            ["4", "", "has 5 cells, the header has 3", "eve@client.example,Eve,,,"],
        ],
    ),
    Mixed(
        "field_of_one_megabyte",
        HEADER + ANN + b"eve@client.example,Eve," + b"x" * 1_000_000 + b"\n" + BOB,
        rejects=[["3", "", "is a line of more than 1,000,000 bytes", f"eve@client.example,Eve,{'x' * 1_977}"]],
    ),
    Mixed(
        "formulas_and_blank_cells",
        HEADER + ANN + b"=cmd(),,\n" + BOB,
        rejects=[["3", "email", f"{NO_ADDRESS}; first_name is blank", "'=cmd(),,"]],
    ),
]


@pytest.mark.parametrize("case", MIXED, ids=lambda case: case.name)
def test_good_rows_reach_qualtrics_and_the_rest_is_kept(place: Place, case: Mixed) -> None:
    """Each row is either in the mailing list, or in the reject file with line, field, reason and text."""
    place.steps["parse_file"] = ParseCrm
    place.settings["parse_file"] = {"max_reject_ratio": 0.5, **case.settings}
    place.begin(case.content)
    place.run()
    assert place.members() == sorted(case.members)
    assert rejects(place, "parse_file") == case.rejects
    assert (place.scheduled(), waiting_letters(place)) == (["Invite", "Reminder"], {})


def test_field_that_qualtrics_does_not_take_costs_its_row_only(place: Place) -> None:
    """A field that fits a file and no contact is put aside by the import, by line and field."""
    place.steps["parse_file"] = ParseCrm
    place.begin(HEADER + ANN + b"eve@client.example,Eve," + b"x" * 900_000 + b"\n" + BOB)
    place.run()
    assert place.members() == GOOD
    reason = "embedded_data.note has 900,000 characters, more than 1,024."
    assert rejects(place, "import_contacts") == [["3", "embedded_data.note", reason, ""]]


def test_hostile_file_goes_through_the_command(make_repository: Callable[..., Path], tmp_path: Path) -> None:
    """`qetl run` says how many rows came through, and lays the reject file where it can be opened."""
    root = make_repository(parse_file={"max_reject_ratio": 0.5})
    file = tmp_path / "contacts.csv"
    file.write_bytes(b"\xef\xbb\xbf" + (HEADER + ANN + b"z@client.example,Zo\xeb,\n" + BOB).replace(b"\n", b"\r\n"))
    command = [sys.executable, "-m", "qualtrics_etl", "run", str(file)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "3 rows in = 2 imported (2 new, 0 known) + 1 rejected + 0 skipped" in done.stdout
    (kept,) = (root / ".qetl" / "rejects").glob("*.csv")
    assert [row[-4:-1] for row in csv.reader(kept.read_text(encoding="utf-8").splitlines())][1:] == [
        ["3", "", NOT_UTF_8]
    ]


# --- files that are wrong as a whole ----------------------------------------------------------------------------------

LOOK_AT_SETTINGS = " Look at the settings `encoding` and `delimiter`, or ask for the file again."
ASK_FOR_COLUMN = (
    " Ask for a file with this column, or name it in the setting `columns`; when all columns seem to be missing, look"
    " at the settings `delimiter` and `encoding`."
)


@dataclass(frozen=True)
class Wrong:
    """A file that can't be used as a whole, and what is said about it."""

    name: str
    content: bytes
    text: str
    settings: dict[str, object] = field(default_factory=dict)
    step: type[ParseFile] = ParseCrm


def too_many(rejected: int, rows: int) -> str:
    """Return what is said when more rows are bad than may be."""
    return (
        f"contacts.csv: {rejected} of {rows} rows were rejected, more than max_reject_ratio (20%) allows; nothing of it"
        f" was sent to Qualtrics. Look at the reasons (make receipt; in the bucket, rejects/{RUN}/parse_file/)."
        " Then mend delimiter, encoding, columns or the row model and send the message back, or"
        " ask the client for a corrected file."
    )


WRONG = [
    Wrong(
        "empty",
        b"",
        "contacts.csv is empty: it has no header. Ask for the file again; a file without rows still needs its header"
        " line.",
    ),
    Wrong("only_rejects", HEADER + b"no address,Eve,\n" * 3, too_many(3, 3)),
    Wrong("every_row_too_short", HEADER + b"ann@client.example\n" * 3, too_many(3, 3)),
    Wrong(
        "every_row_latin_1",
        HEADER + "zoe@client.example,Zoë,\n".encode("latin-1") * 3,
        too_many(3, 3),
    ),
    Wrong(
        "missing_column",
        b"email,note\nann@client.example,\n",
        "Column 'first_name' is missing from contacts.csv: the header (line 1) has 2 columns, and none of this name."
        + ASK_FOR_COLUMN,
    ),
    Wrong(
        "no_header_line",
        ANN + BOB,
        "Column 'email' is missing from contacts.csv: the header (line 1) has 3 columns, and none of this name."
        + ASK_FOR_COLUMN,
    ),
    Wrong(
        "repeated_column",
        b"email,First Name,first_name\nann@client.example,Ann,Ann\n",
        "Column 'first_name' stands more than once in contacts.csv: columns 2 and 3 of the header (line 1)."
        " Ask for a file where it stands once; names are compared without case, and blanks, dashes and underscores"
        " count as the same.",
    ),
    Wrong(
        "repeated_column_without_a_row_model",
        b"Ann,ann\nBob,bob\n",
        "Columns 1 and 2 of contacts.csv have the same name in its header (line 1)."
        " Ask for a file where it stands once; names are compared without case, and blanks, dashes and underscores"
        " count as the same. If the file has no header line, ask for one: the first line is read as the names of the"
        " columns.",
        step=ParseFile,
    ),
    Wrong(
        "wrong_delimiter",
        HEADER + ANN,
        "contacts.csv has another delimiter: its header (line 1), cut at semicolon, has 1 column, cut at comma it has"
        " 3. Set `delimiter` to comma (',') or to auto.",
        settings={"delimiter": ";"},
    ),
    Wrong(
        "delimiter_that_is_not_guessed",
        (HEADER + ANN).replace(b",", b"^"),
        "contacts.csv has another delimiter: its header (line 1), cut at comma, has 1 column, and none of comma,"
        " semicolon, tab, pipe cuts it into more. Set `delimiter` to the character between the columns.",
    ),
    Wrong(
        "header_in_another_encoding",
        "email,prénom\n".encode("latin-1") + ANN,
        f"The header of contacts.csv (line 1) can't be read: it {NOT_UTF_8}." + LOOK_AT_SETTINGS,
    ),
    Wrong(
        "utf16_without_a_mark",
        (HEADER + ANN).decode().encode("utf-16-le"),
        f"The header of contacts.csv (line 1) can't be read: it {NUL}." + LOOK_AT_SETTINGS,
    ),
    Wrong(
        "not_a_csv_file",
        b"%PDF-1.7",
        "contacts.csv is no CSV file: it begins like a PDF document. Ask the client for the table itself, as CSV or"
        " XML: plain, or packed once with gzip or zip, and not encrypted.",
    ),
    Wrong(
        "archive_that_is_damaged",
        gzip.compress(HEADER + ANN)[:-1],
        "contacts.csv is damaged: it is cut off: it ends before its data does. Nothing of it was sent to Qualtrics. Ask"
        " the client to pack the file anew and send it again.",
    ),
    Wrong(
        "xml_with_entities",
        b'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "c">]>\n<a><row><email>&b;</email></row></a>',
        "contacts.csv has a DOCTYPE (line 2); entities that a file brings along are not read, for safety. Nothing of it"
        " was sent to Qualtrics. Ask the client for the same file without its document type.",
    ),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_wholly_wrong_file_stops_before_qualtrics(place: Place, caplog: pytest.LogCaptureFixture, case: Wrong) -> None:
    """The letter and the log say what is wrong with the file and what to do; Qualtrics never hears of it."""
    place.steps["parse_file"] = case.step
    place.settings["parse_file"] = case.settings
    place.begin(case.content)
    place.run()
    assert (place.cause("parse_file"), logged_texts(caplog)) == (case.text, [case.text])
    assert (place.simulator.state.calls, place.keys("ledger/")) == ({}, [f"ledger/{RUN}/parse_file/all"])


@pytest.mark.parametrize("content", [HEADER, HEADER + b"\n,,\n \n"], ids=["header_alone", "blank_lines"])
def test_file_without_rows_is_no_mistake(place: Place, content: bytes) -> None:
    """A file of a header ends its run without a call, and nobody is alarmed."""
    place.begin(content)
    place.run()
    assert (place.simulator.state.calls, waiting_letters(place)) == ({}, {})


# --- settings that are wrong ------------------------------------------------------------------------------------------

MAY_USE_IT = " of the service in config/local.yml and that the user of the credentials may use it."
INVITE_IDS = "survey_id ({}), library_id ({}), message_id ({}) and from_email"
REMINDER_IDS = "library_id ({}), message_id ({}) and from_email"


@pytest.mark.parametrize(
    ("service", "settings", "answer", "ids"),
    [
        (
            "schedule_distribution",
            {"survey_id": "SV_999999999999999"},
            "create_distribution: status 404 GSI_2 Survey not found.",
            INVITE_IDS.format("SV_999999999999999", "UR_ExampleLibrary1", "MS_ExampleInvite01"),
        ),
        (
            "schedule_distribution",
            {"library_id": "UR_999999999999999"},
            "create_distribution: status 404 LIBRARY_NOT_FOUND Library UR_999999999999999 not found",
            INVITE_IDS.format("SV_ExampleSurvey01", "UR_999999999999999", "MS_ExampleInvite01"),
        ),
        (
            "schedule_distribution",
            {"message_id": "MS_999999999999999"},
            "create_distribution: status 404 MESSAGE_NOT_FOUND Message MS_999999999999999 not found",
            INVITE_IDS.format("SV_ExampleSurvey01", "UR_ExampleLibrary1", "MS_999999999999999"),
        ),
        (
            "schedule_reminder",
            {"message_id": "MS_999999999999999"},
            "create_reminder: status 404 MESSAGE_NOT_FOUND Message MS_999999999999999 not found",
            REMINDER_IDS.format("UR_ExampleLibrary1", "MS_999999999999999"),
        ),
    ],
    ids=["survey", "library", "message", "message_of_the_reminder"],
)
def test_wrong_id_is_named_with_its_setting(
    place: Place, caplog: pytest.LogCaptureFixture, service: str, settings: dict[str, object], answer: str, ids: str
) -> None:
    """An id that Qualtrics does not know stands in the error beside the setting; mended, the letter goes through."""
    place.settings[service] = settings
    place.begin(HEADER + ANN)
    place.run()
    text = f"{answer} Check {ids}{MAY_USE_IT}"
    assert (place.cause(service), logged_texts(caplog)) == (text, [text])
    del place.settings[service]
    place.redrive(service)
    place.run()
    assert place.scheduled() == ["Invite", "Reminder"]


def test_wrong_directory_is_named_with_its_setting(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that the credentials don't see."""
    place.simulator.state.directories.clear()
    place.begin(HEADER + ANN)
    place.run()
    text = (
        "create_mailing_list: status 404 DIRECTORY_NOT_FOUND Directory POOL_ExampleDirector not found"
        " Check qualtrics.directory_id in config/local.yml and that the user of the credentials may use it."
    )
    assert (place.cause("create_mailing_list"), logged_texts(caplog)) == (text, [text])


def test_wrong_token_names_the_secret(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A token that Qualtrics does not know is looked at for an hour, each time with the command that mends it."""
    place.secrets["qualtrics_api_token"] = "TokenOfAnotherBrand"
    place.begin(HEADER + ANN)
    place.run()
    text = (
        "create_mailing_list: status 401 DCD_7 Unrecognized X-API-TOKEN. Set it anew with"
        " `make secret NAME=qualtrics_api_token STAGE=local`, or check qualtrics.datacenter in config/local.yml: each"
        " data center knows its own only."
    )
    assert place.cause("create_mailing_list") == text
    assert logged_texts(caplog) == [text] * 5
    assert place.lists() == []


class NoSuchHost:
    """A network where look-ups say that there is no such host: a real one may answer otherwise, or not at all."""

    def send(self, request: Request) -> Response:
        """Find no host."""
        raise translate(socket.gaierror(socket.EAI_NONAME, "Name or service not known"), request)


def test_wrong_data_center_names_its_setting(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A data center that does not exist is a host that does not exist; the text says where the right one stands."""
    place.base_url = "https://fr1.qualtrics.com"
    place.transport = NoSuchHost()  # type: ignore[assignment]  # nothing is counted on it
    place.begin(HEADER + ANN)
    place.run()
    text = (
        "There is no host fr1.qualtrics.com. Nothing was sent. Check qualtrics.datacenter in config/local.yml: it is"
        " the first word of the address you log in at."
    )
    assert (place.cause("create_mailing_list"), logged_texts(caplog)) == (text, [text] * 5)


def test_unknown_host_key_names_both_keys_and_the_setting(
    client: Client, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """A server with another key than the pinned one gets no password; who reads it can compare the fingerprints."""
    assert place.sftp is not None
    other = asyncssh.generate_private_key("ssh-ed25519")
    shown = asyncssh.import_public_key(str(place.sftp["host_key"])).get_fingerprint()
    place.sftp["host_key"] = other.export_public_key().decode().strip()
    text = (
        f"The SFTP server 127.0.0.1:{place.sftp['port']} showed another host key than the pinned one: expected"
        f" ssh-ed25519 {other.get_fingerprint()}, shown ssh-ed25519 {shown}. Nothing was sent to it. Somebody may stand"
        " in between: compare the shown fingerprint with the client by telephone or another channel; only when it is"
        " right, change `sftp.host_key` in config/local.yml."
    )
    assert fetched_with_error(client, place, caplog) == (text, [text] * 5)


def test_wrong_sftp_user_names_user_and_secret(client: Client, place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A user that the client's server does not know."""
    assert place.sftp is not None
    place.sftp["user"] = "elt"
    text = (
        f"The SFTP server 127.0.0.1:{place.sftp['port']} refused user 'elt' with the password (secret `sftp_password`)."
        " Correct `sftp.user` in config/local.yml, or set the right secret:"
        " `make secret NAME=sftp_password STAGE=local`."
    )
    assert fetched_with_error(client, place, caplog) == (text, [text] * 5)


# --- how it is looked at ----------------------------------------------------------------------------------------------


def fetched_with_error(client: Client, place: Place, caplog: pytest.LogCaptureFixture) -> tuple[str, list[str]]:
    """Let a file lie at the client's and a tick come; return what the letter says, and what the log says."""
    client.drop("contacts.csv")
    client.tick()
    place.run()
    return place.cause("fetch_sftp_file"), logged_texts(caplog)


def rejects(place: Place, service: str) -> list[list[str]]:
    """Return the rows of a service's reject files, without their headers."""
    texts = [place.text(key) for key in place.keys(f"rejects/{RUN}/{service}/")]
    return [row for text in texts for row in list(csv.reader(text.splitlines(keepends=True)))[1:]]


def waiting_letters(place: Place) -> dict[str, str]:
    """Return why messages lie in dead-letter queues, by service."""
    return {service: place.cause(service) for service in place.workflow.services if place.letters(service)}


def logged_texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error, each with its remedy; without request ids, which are another each time."""
    records = [vars(record) for record in caplog.records if record.levelno >= logging.ERROR]
    texts = (" ".join(filter(None, (record["error"], record.get("remedy")))) for record in records)
    return [re.sub(r" \[request [^]]+\]", "", text) for text in texts]
