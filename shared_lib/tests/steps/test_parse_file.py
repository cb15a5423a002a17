"""A file is cut once: what is stored wins, whoever reads on; a wrong answer of a hook is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import ParseFile, RowContext, RowValues
from qualtrics_etl.ledger import State
from qualtrics_etl.messages import FileParsed, Message, ParsingContinues

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

BATCHES = "payloads/acme-etl-0123456789ab/parse_file/batches"


class ShortOfTime(ParseFile):
    """Hands over after each batch."""

    @override
    def _time_is_short(self, delivery: object) -> bool:
        return True


@pytest.fixture
def parsing(place: Place) -> Place:
    """A place where files are cut into batches of two."""
    place.use("fetch_sftp_file", "parse_file", "create_mailing_list", parse_file={"settings": {"rows_per_batch": 2}})
    return place


def parsed(place: Place) -> list[FileParsed]:
    """Return what the next service was told."""
    return [Message.decode(each.body).fact(FileParsed) for each in place.waiting("create_mailing_list")]


def parse(place: Place) -> None:
    """Work on what waits for parsing, and on nothing else."""
    place.run_only("parse_file")


def test_batches_and_manifest_are_stored_before_anything_is_sent(
    parsing: Place, contacts: Callable[..., bytes]
) -> None:
    """A worker that dies at its send has stored all batches, and how many they are."""
    parsing.begin(contacts(5))
    parsing.mishap("send create_mailing_list")
    parsing.deliver("parse_file")
    assert parsing.keys(BATCHES) == [f"{BATCHES}/0000{n}" for n in range(3)]
    assert '"batches":3' in parsing.text("payloads/acme-etl-0123456789ab/parse_file/manifest.json")
    parse(parsing)
    assert parsed(parsing) == [FileParsed(3, BATCHES, 5, 5, 0)]


def test_next_worker_reads_on_behind_what_is_stored(parsing: Place, contacts: Callable[..., bytes]) -> None:
    """Batches that a dead worker stored are not cut again, not even by another cut."""
    parsing.begin(contacts(5))
    parsing.mishap(f"put {BATCHES}/00001", after=True)
    parsing.deliver("parse_file")
    parsing.settings["parse_file"] = {"rows_per_batch": 1}
    parse(parsing)
    assert parsed(parsing) == [FileParsed(3, BATCHES, 5, 5, 0)]
    assert [parsing.text(f"{BATCHES}/0000{n}").count("@client") for n in range(3)] == [2, 2, 1]


def test_worker_that_cuts_otherwise_at_the_same_time_gives_way(parsing: Place, contacts: Callable[..., bytes]) -> None:
    """Of two who cut one batch differently, the stored one wins; the other reads on behind it."""
    parsing.begin(contacts(4))
    parsing.begin(contacts(4))
    first, second = parsing.receive("parse_file")[0], parsing.receive("parse_file")[0]

    def other_worker() -> None:
        parsing.settings["parse_file"] = {"rows_per_batch": 1}
        parsing.handle("parse_file", second)

    parsing.meanwhile(f"put {BATCHES}/00000", other_worker)
    parsing.handle("parse_file", first)
    parse(parsing)
    assert set(parsed(parsing)) == {FileParsed(4, BATCHES, 4, 4, 0)}
    assert [parsing.text(key).count("@client") for key in parsing.keys(f"{BATCHES}/")] == [1, 1, 1, 1]


def test_continuations_are_numbered(parsing: Place, contacts: Callable[..., bytes]) -> None:
    """Each continuation has an identity of its own; the next service hears of the whole run."""
    parsing.steps["parse_file"] = ShortOfTime
    parsing.begin(contacts(5))
    parse(parsing)
    (message,) = [Message.decode(each.body) for each in parsing.waiting("create_mailing_list")]
    assert (message.batch, message.fact(ParsingContinues).part) == ("all", 2)
    assert [parsing.entry("parse_file", batch).state for batch in ("all", "c0001", "c0002")] == [State.DONE] * 3  # type: ignore[union-attr]  # it is there, or the test fails


def test_continuation_delivered_twice_ends_alike(parsing: Place, contacts: Callable[..., bytes]) -> None:
    """Every message twice: the same batches, and one fact."""
    parsing.duplicates = True
    parsing.use("fetch_sftp_file", "parse_file", "create_mailing_list", parse_file={"settings": {"rows_per_batch": 2}})
    parsing.steps["parse_file"] = ShortOfTime
    parsing.begin(contacts(5))
    parse(parsing)
    assert set(parsed(parsing)) == {FileParsed(3, BATCHES, 5, 5, 0)}


def test_redriven_file_keeps_its_continuations_together(parsing: Place, contacts: Callable[..., bytes]) -> None:
    """A file that is sent back and cut anew, with continuations, mixes no batches of two cuts."""
    parsing.begin(contacts(5) + b"one,too,many,cells\n" * 4)
    parse(parsing)
    parsing.steps["parse_file"] = ShortOfTime
    parsing.settings["parse_file"] = {"max_reject_ratio": 1.0, "rows_per_batch": 3}
    parsing.redrive("parse_file")
    parse(parsing)
    place = "payloads/acme-etl-0123456789ab/parse_file/1/batches"
    assert parsed(parsing) == [FileParsed(3, place, 9, 5, 4)]
    assert parsing.keys(f"{place}/") == [f"{place}/0000{n}" for n in range(3)]


class Answering(ParseFile):
    """Answers where it should raise."""

    @override
    def validate_row(self, row: RowValues, *, context: RowContext) -> None:
        return row["email"].endswith("@client.example")  # type: ignore[no-any-return]  # the mistake that is tested


def test_check_that_answers_instead_of_raising_is_named(parsing: Place, contacts: Callable[..., bytes]) -> None:
    """A check whose answer nobody would hear is an error, not a silence."""
    parsing.steps["parse_file"] = Answering
    parsing.begin(contacts(5))
    parse(parsing)
    assert parsing.cause("parse_file") == (
        "Answering.validate_row returned a bool. Raise RowRejectedError to put a row aside, and return nothing."
    )


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "contacts.csv is empty: it has no header."),
        (b"email,email\na,b\n", "Columns 1 and 2 of contacts.csv have the same name in its header (line 1)."),
    ],
)
def test_file_that_is_no_file_of_contacts_is_put_aside(parsing: Place, content: bytes, cause: str) -> None:
    """A file that can't be used as a whole goes no further, and is recorded as failed."""
    parsing.begin(content)
    parse(parsing)
    assert parsing.cause("parse_file").startswith(cause)
    assert parsing.entry("parse_file").state is State.FAILED  # type: ignore[union-attr]  # it is there, or the test fails
    assert parsed(parsing) == []
