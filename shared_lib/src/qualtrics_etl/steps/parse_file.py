"""The client's file becomes numbered batches of typed rows, whole or not at all.

Every batch is stored with the place in the file where it ends. What is stored wins: an attempt that finds batches goes
on behind the last of them, so a file is cut once, whoever reads it, in however many invocations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, BinaryIO, ClassVar, cast, final

import orjson
from pydantic import Field, StringConstraints
from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.errors import (
    ConfigurationError,
    InputError,
    NotYetError,
    PreconditionFailedError,
    RetryableError,
)
from qualtrics_etl.formats.batch_reader import CheckRow, Limits
from qualtrics_etl.formats.batches import Batch, Position, decode_batch, encode_batch, encode_rejects
from qualtrics_etl.formats.content import MAX_UNPACKED_MB, PackSpec, unpack
from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.rows import Row, RowModel
from qualtrics_etl.formats.tables import Format, TableSpec, read_table
from qualtrics_etl.ledger import How, Output
from qualtrics_etl.messages import FileFetched, FileParsed, Message, ParsingContinues, encode_fact
from qualtrics_etl.payloads import MAX_BATCHES, batch_name, batches_prefix, checked_key, manifest_key, reject_key
from qualtrics_etl.settings import StepSettings
from qualtrics_etl.steps.base import Delivery
from qualtrics_etl.steps.contexts import RowContext, RowValues, RunContext
from qualtrics_etl.steps.outcomes import Ended
from qualtrics_etl.steps.repeatable import RepeatableStep

MAX_ROWS_PER_BATCH = 10_000
"""Source: Qualtrics API reference, the page on importing contacts (most contacts in one call)."""
MAX_BATCH_BYTES = 4_500_000
"""A batch becomes one request, of which Qualtrics takes 5 MB; the rest is for the names of its fields."""
DEADLINE_SHARE = 0.2
"""Reading stops at a batch boundary when less than this share of the function's time is left."""
SKIP_SHARE = 0.5
"""A file that can't be entered in its middle is refused when leaving out what is stored takes a larger share."""


MOST_UNPACKED_MB = 100_000


class ParseFileSettings(StepSettings):
    """What `parse_file` can be told.

    Attributes:
        format: `csv`, `xml`, or `auto`: whichever the file begins like.
        delimiter: What separates the cells of a CSV file: one character, or `auto`.
        encoding: `utf-8`, `cp1252`, `latin-1` or another codec that Python knows; an XML file declares its own.
        record: Which element of an XML file is a row: its name or the end of its path; blank for all in the root.
        member: Pattern of the table's name in a zip archive; blank where the archive holds one file.
        max_unpacked_mb: A gzip or zip file that unpacks to more MB (10**6 bytes) is refused.
        columns: Name in the file to field, for the columns whose names differ.
        rows_per_batch: Most rows in a batch; a batch becomes one call.
        max_reject_ratio: A file of which a larger share is rejected goes no further: 0.0 to 1.0.
    """

    format: Format = "auto"
    delimiter: Annotated[str, StringConstraints(min_length=1)] = "auto"
    encoding: str = "utf-8"
    record: str = ""
    member: str = ""
    max_unpacked_mb: Annotated[int, Field(ge=1, le=MOST_UNPACKED_MB)] = MAX_UNPACKED_MB
    columns: Mapping[str, str] = Field(default_factory=dict)
    rows_per_batch: Annotated[int, Field(ge=1, le=MAX_ROWS_PER_BATCH)] = MAX_ROWS_PER_BATCH
    max_reject_ratio: Annotated[float, Field(ge=0, le=1)] = 0.2


class ParseFile(RepeatableStep):
    """Parse a CSV file of any dialect, or an XML file; plain, or packed with gzip or zip.

    Good rows go into batches, bad ones into the reject file with line, column and reason; when too many are bad, the
    file stops here, before Qualtrics hears of it.
    """

    kind: ClassVar[Kind] = catalogue.PARSE_FILE
    Settings = ParseFileSettings

    row_model: ClassVar[type[Row] | None] = None
    """The row as the client declares it: a subclass of `Row`, a field a column. None takes every column as text."""

    @classmethod
    @override
    def refused_settings(cls, settings: StepSettings) -> Iterator[tuple[str, ConfigurationError]]:
        assert isinstance(settings, ParseFileSettings)
        for name in ("encoding", "delimiter"):
            try:
                CsvSpec(**{name: getattr(settings, name)})
            except ConfigurationError as error:
                yield name, error
        about = ""
        try:
            model = RowModel(cls.row_model)
            about = "columns"
            model.check_columns(settings.columns)
        except ConfigurationError as error:
            yield about, error

    def validate_row(self, row: RowValues, *, context: RowContext) -> None:
        """Look at one row that fits the row model; raise to put it aside.

        Called once or twice for each row, in file order. For what the row model can't say: two columns that must
        agree, a value that must be in a list of the client's. The default accepts every row.

        Raises:
            RowRejectedError: The row is put aside with this reason; the others go on.
        """

    @property
    def settings(self) -> ParseFileSettings:
        """What the service was told."""
        assert isinstance(self._checked_settings, ParseFileSettings)
        return self._checked_settings

    @override
    def _work(self, message: Message, delivery: Delivery) -> Ended:
        place = self._place(message)
        last = self._last_stored(place)
        if last is None or not last.is_last:
            for batch in self._read_on(message, last, delivery):
                last = self._store(place, batch)
                if not last.is_last and self._time_is_short(delivery):
                    return Ended(outputs=(self._continuation(message),))
        return Ended(self._parsed(message, place, last))

    def _place(self, message: Message) -> str:
        """Return the part of the keys that is this cut's own.

        Another generation may cut otherwise, since a setting was mended: its batches must not mix with the last one's.
        """
        return f"{message.run}/{self._wiring.service}" + (f"/{message.generation}" if message.generation else "")

    def _last_stored(self, place: str) -> Batch | None:
        keys = [summary.key for summary in self._wiring.objects.list(f"{batches_prefix(place)}/")]
        found = self._wiring.objects.get(keys[-1]) if keys else None
        return decode_batch(found.body) if found else None

    def _read_on(self, message: Message, last: Batch | None, delivery: Delivery) -> Iterator[Batch]:
        fetched = message.fact(FileFetched)
        with self._wiring.objects.open(checked_key(fetched.key, below="payloads/")) as stream:
            yield from self.read(
                stream,
                file=fetched.name,
                run=self._context(message),
                position=last.end if last else None,
                meanwhile=self._patience(fetched.name, delivery),
            )

    @final
    def read(
        self,
        stream: BinaryIO,
        *,
        file: str,
        run: RunContext,
        position: Position | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Batch]:
        """Read a file as this step is told to: settings, row model, the client's own check of a row.

        Args:
            stream: The whole file, as the client sent it; one that can seek.
            file: Its name, for errors.
            position: End of a batch, to go on behind it.
            meanwhile: Called again and again while rows are left out; may raise to stop.

        Raises:
            InputError: The file can't be used as a whole.
        """
        settings = self.settings
        content = unpack(stream, PackSpec(settings.member, settings.max_unpacked_mb), name=file, meanwhile=meanwhile)
        spec = TableSpec(
            format=settings.format,
            delimiter=settings.delimiter,
            encoding=settings.encoding,
            record=settings.record,
            columns=settings.columns,
        )
        yield from read_table(
            content,
            spec,
            RowModel(self.row_model),
            Limits(settings.rows_per_batch, MAX_BATCH_BYTES),
            position=position,
            check_row=self._row_check(run),
            meanwhile=meanwhile,
        )

    def _patience(self, file: str, delivery: Delivery) -> Callable[[], None]:
        """Return what is asked again and again while stored rows are left out: it raises when that takes too long."""
        whole, at_first = self._service.timeout_seconds, delivery.remaining_seconds()

        def check() -> None:
            left = delivery.remaining_seconds()
            if at_first - left > SKIP_SHARE * whole:
                raise InputError(
                    f"{file} is too long to be read in parts: it can't be entered in its middle, and getting to where"
                    f" reading stopped takes more than half of the {whole} s that the function has. Nothing of it was"
                    " sent to Qualtrics.",
                    remedy="Raise timeout_seconds (to 300 at most) or memory_mb of the service, deploy and send the"
                    " message back; or ask the client for CSV that is not packed, or for several smaller files.",
                    file=file,
                )
            if left < DEADLINE_SHARE * whole:
                raise NotYetError("Too little time is left to get to where reading stopped.", delay_seconds=0)

        return check

    def _row_check(self, run: RunContext) -> CheckRow | None:
        """Return the client's own check of a row; None without one, since calling it costs more than parsing."""
        if type(self).validate_row is ParseFile.validate_row:
            return None
        validate_row = cast("Callable[..., object]", self.validate_row)

        def check(row: RowValues, line: int) -> None:
            if (answer := validate_row(row, context=RowContext(run, line))) is not None:
                raise ConfigurationError(
                    f"{self._hook_name('validate_row')} returned a {type(answer).__name__}.",
                    remedy="Raise RowRejectedError to put a row aside, and return nothing.",
                )

        return check

    def _store(self, place: str, batch: Batch) -> Batch:
        """Put the rejects, then the batch: where a batch is, its rejects are too."""
        if batch.number >= MAX_BATCHES:
            raise InputError(
                f"{place} has rows for more than {MAX_BATCHES:,} batches; nothing of it was sent to Qualtrics.",
                remedy="Raise rows_per_batch of parse_file, or ask the client for several smaller files.",
            )
        name, body = batch_name(batch.number), encode_batch(batch)
        if batch.rejects:
            self._wiring.objects.put(reject_key(place, name), encode_rejects(batch.rejects))
        key = f"{batches_prefix(place)}/{name}"
        try:
            self._wiring.objects.put(key, body, if_none_match=True)
        except PreconditionFailedError as exc:
            found = self._wiring.objects.get(key)
            if found is None or found.body != body:
                # Its bytes win: the next attempt reads on behind it.
                raise RetryableError(f"Another worker cut {key} otherwise.", call_made=False) from exc
        return batch

    def _time_is_short(self, delivery: Delivery) -> bool:
        return delivery.remaining_seconds() < DEADLINE_SHARE * self._service.timeout_seconds

    def _continuation(self, message: Message) -> Output:
        part = message.fact(ParsingContinues).part + 1 if message.has(ParsingContinues) else 1
        following = message.after(self._wiring.service, ParsingContinues(part), batch=f"c{part:04}")
        # Its batches lie with those of this generation.
        return Output(How.SEND, replace(following, generation=message.generation).encode())

    def _parsed(self, message: Message, place: str, last: Batch | None) -> FileParsed:
        """Judge the whole file, and write down what it was cut into.

        Raises:
            InputError: Too many of its rows were rejected.
        """
        rows, rejected = (last.end.rows, last.end.rejected) if last else (0, 0)
        name = message.fact(FileFetched).name
        if rows and rejected / rows > self.settings.max_reject_ratio:
            raise InputError(
                f"{name}: {rejected} of {rows} rows were rejected, more than max_reject_ratio"
                f" ({self.settings.max_reject_ratio:.0%}) allows; nothing of it was sent to Qualtrics.",
                remedy=f"Look at the reasons (make receipt; in the bucket, rejects/{place}/). Then mend delimiter,"
                " encoding, columns or the row model and send the message back, or"
                " ask the client for a corrected file.",
                file=name,
            )
        parsed = FileParsed(
            batches=last.number + 1 if last and rows > rejected else 0,
            batches_at=batches_prefix(place),
            rows=rows,
            good_rows=rows - rejected,
            rejected_rows=rejected,
        )
        self._wiring.objects.put(manifest_key(place), orjson.dumps({"file": name, **dict([encode_fact(parsed)])}))
        return parsed
