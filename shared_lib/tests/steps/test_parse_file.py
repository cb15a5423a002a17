"""A file is cut once: what is stored wins, whoever reads on; a wrong answer of a hook is named."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import ParseFile, RowContext, RowValues
from qualtrics_etl.ledger import State
from qualtrics_etl.messages import FileParsed, Message, ParsingContinues
from qualtrics_etl.steps.base import Delivery

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


# --- packed files and XML ---------------------------------------------------------------------------------------------

Form = Callable[[bytes], bytes]
XML_HEAD = b"<contacts>\n"


def as_zip(table: bytes) -> bytes:
    """Return a zip archive of a table."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("out/contacts.csv", table)
    return out.getvalue()


def as_xml(table: bytes) -> bytes:
    """Return a table without quotes as an XML file with a line a row."""
    header, *rows = [line.split(",") for line in table.decode().splitlines()]
    pairs = [zip(header, row, strict=False) for row in rows]
    lines = ["".join(f"<{name}>{cell}</{name}>" for name, cell in each) for each in pairs]
    return XML_HEAD + "".join(f"<contact>{line}</contact>\n" for line in lines).encode() + b"</contacts>"


def stored(place: Place) -> dict[str, str]:
    """Return what parsing stored, without its ledger: key to text."""
    return {key: place.text(key) for key in [*place.keys(BATCHES), *place.keys("rejects/")]}


def long_table(rows: int) -> bytes:
    """Return a table that hardly gets smaller when it is packed."""
    digits = (f"{(number * 2_654_435_761) ** 5 % 10**40:040}" for number in range(rows))
    return b"email,first_name,branch\n" + "".join(f"{each}@client.example,P,{each}\n" for each in digits).encode()


@pytest.mark.parametrize("pack", [gzip.compress, as_zip], ids=["gzip", "zip"])
def test_packed_file_gives_the_batches_of_the_bare_one(
    place: Place, contacts: Callable[..., bytes], pack: Form
) -> None:
    """What a file was packed with makes no difference to a byte of what is stored."""
    place.use("fetch_sftp_file", "parse_file", "create_mailing_list", parse_file={"settings": {"rows_per_batch": 2}})
    found = []
    table = contacts(4) + b"one,too,many,cells\n" + contacts(2).partition(b"\n")[2]
    for content in (table, pack(table)):
        for key in stored(place):
            place.bucket.delete(key)
        place.bucket.delete("ledger/acme-etl-0123456789ab/parse_file/all")
        place.begin(content)
        parse(place)
        found.append(stored(place))
    assert found[0] == found[1]
    assert sorted(found[0]) == [
        *(f"{BATCHES}/0000{n}" for n in range(4)),
        "rejects/acme-etl-0123456789ab/parse_file/00002.csv",
    ]


@pytest.mark.parametrize("form", [gzip.compress, as_zip, as_xml], ids=["gzip", "zip", "xml"])
def test_continuations_of_what_can_not_be_entered_cut_the_same(
    parsing: Place, contacts: Callable[..., bytes], form: Form
) -> None:
    """A worker that hands over after each batch leaves the batches of one that never does."""
    content = form(contacts(5) + b"bad,cell\n")
    parsing.begin(content)
    parse(parsing)
    whole = stored(parsing)
    for key in [*whole, *parsing.keys("ledger/")]:
        parsing.bucket.delete(key)
    parsing.steps["parse_file"] = ShortOfTime
    parsing.begin(content)
    parse(parsing)
    assert stored(parsing) == whole
    assert parsing.entry("parse_file", "c0002") is not None
    assert len(set(parsed(parsing))) == 1


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (lambda table: gzip.compress(table)[:-8] + bytes(8), "(its check sum says so)"),
        (lambda table: gzip.compress(table)[:-9], "is cut off"),
        (lambda table: as_xml(table)[:-1], "no XML that can be read: unclosed token (line 5002)"),
    ],
    ids=["another_check_sum", "cut_off", "unclosed"],
)
def test_file_that_is_damaged_at_its_end_goes_no_further(parsing: Place, form: Form, says: str) -> None:
    """What shows only at the end refuses all of the file, though most batches are stored by then."""
    parsing.settings["parse_file"] = {"rows_per_batch": 100}
    parsing.begin(form(long_table(5_000)))
    parse(parsing)
    assert len(parsing.keys(BATCHES)) >= 30
    assert says in parsing.cause("parse_file")
    assert parsed(parsing) == []
    assert parsing.entry("parse_file").state is State.FAILED  # type: ignore[union-attr]  # it is there, or the test fails


def ticking(left: float, seconds: float) -> Callable[[], float]:
    """Return a function's clock that is a little later at each look."""

    def looks() -> Iterator[float]:
        now = left
        while True:
            yield now
            now -= seconds

    return looks().__next__


@pytest.mark.parametrize("form", [gzip.compress, as_xml], ids=["gzip", "xml"])
def test_file_that_takes_too_long_to_be_entered_again_is_refused(parsing: Place, form: Form) -> None:
    """Where half of the time goes by before reading goes on, the file would never end: it is refused with a remedy."""
    parsing.settings["parse_file"] = {"rows_per_batch": 4_500}
    parsing.steps["parse_file"] = ShortOfTime
    parsing.begin(form(long_table(5_000)))
    parsing.deliver("parse_file")
    (continuation,) = parsing.receive("parse_file")
    parsing.step("parse_file").handle(Delivery(continuation, ticking(60, 8)))
    assert parsing.cause("parse_file") == (
        "contacts.csv is too long to be read in parts: it can't be entered in its middle, and getting to where reading"
        " stopped takes more than half of the 60 s that the function has. Nothing of it was sent to Qualtrics. Raise"
        " timeout_seconds (to 300 at most) or memory_mb of the service, deploy and send the message back; or ask the"
        " client for CSV that is not packed, or for several smaller files."
    )


def test_worker_that_began_late_leaves_the_way_to_the_next(parsing: Place) -> None:
    """Where little time was left from the beginning, nothing is refused: the message comes again at once."""
    parsing.settings["parse_file"] = {"rows_per_batch": 4_500}
    parsing.steps["parse_file"] = ShortOfTime
    parsing.begin(gzip.compress(long_table(5_000)))
    parsing.deliver("parse_file")
    (continuation,) = parsing.receive("parse_file")
    assert parsing.step("parse_file").handle(Delivery(continuation, ticking(24, 3)))
    parsing.queues.of("parse_file").delete(continuation.receipt)
    assert parsing.letters("parse_file") == []
    del parsing.steps["parse_file"]
    parse(parsing)
    assert [each.rows for each in parsed(parsing)] == [5_000]


def test_record_that_is_set_otherwise_meanwhile_is_no_silent_loss(
    parsing: Place, contacts: Callable[..., bytes]
) -> None:
    """Records that are others than those that are stored are not read on."""
    content = as_xml(contacts(5)).replace(b"<contact>", b"<contact><c><z>1</z></c>")
    parsing.steps["parse_file"] = ShortOfTime
    parsing.begin(content)
    parsing.deliver("parse_file")
    parsing.settings["parse_file"] = {"record": "c", "rows_per_batch": 2}
    parse(parsing)
    assert parsing.cause("parse_file").startswith(
        "contacts.csv is not cut into records as it was when its first rows were stored."
    )
    assert parsed(parsing) == []
