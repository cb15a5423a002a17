"""The catalogue: every kind of step, what it takes and gives, and whether it works on a run or on its batches.

The one table from which workflow checks, the fan-out and the fan-in work. It names modules and classes as text, so
that reading a workflow imports no step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from qualtrics_etl.messages import (
    ContactsImported,
    DistributionScheduled,
    Fact,
    FileFetched,
    FileParsed,
    FilePosted,
    MailingListCreated,
    ReminderScheduled,
    Ticked,
)


class Level(Enum):
    """What one message of a service stands for."""

    RUN = "run"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step.

    Attributes:
        name: As in `kind:` of workflow.yml.
        class_name: The step's class; its module is `steps/<name>.py`.
        level: One message a run, or one a batch.
        takes: Facts that must be true before it; empty for one that starts a run.
        gives: The fact that is true after it.
        starts_on: What starts it, for the first service of a chain; None for the others.
        extra: The library's extra that it needs, which is the layer that its function takes beside the base; None for
            most.
        calls: The endpoint, by its name in the registry, that its one call goes to; None where it makes none.
    """

    name: str
    class_name: str
    level: Level
    takes: tuple[type[Fact], ...]
    gives: type[Fact]
    starts_on: type[Fact] | None = None
    extra: str | None = None
    calls: str | None = None

    @property
    def module(self) -> str:
        """Name of the module that holds the step's class."""
        return f"qualtrics_etl.steps.{self.name}"


FETCH_SFTP_FILE = Kind("fetch_sftp_file", "FetchSftpFile", Level.RUN, (), FileFetched, starts_on=Ticked, extra="sftp")
RECEIVE_POST = Kind("receive_post", "ReceivePost", Level.RUN, (), FileFetched, starts_on=FilePosted)
PARSE_FILE = Kind("parse_file", "ParseFile", Level.RUN, (FileFetched,), FileParsed)
CREATE_MAILING_LIST = Kind(
    "create_mailing_list", "CreateMailingList", Level.RUN, (), MailingListCreated, calls="create_mailing_list"
)
IMPORT_CONTACTS = Kind(
    "import_contacts",
    "ImportContacts",
    Level.BATCH,
    (FileParsed, MailingListCreated),
    ContactsImported,
    calls="start_contact_import",
)
SCHEDULE_DISTRIBUTION = Kind(
    "schedule_distribution",
    "ScheduleDistribution",
    Level.RUN,
    (MailingListCreated,),
    DistributionScheduled,
    calls="create_distribution",
)
SCHEDULE_REMINDER = Kind(
    "schedule_reminder",
    "ScheduleReminder",
    Level.RUN,
    (DistributionScheduled,),
    ReminderScheduled,
    calls="create_reminder",
)

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        FETCH_SFTP_FILE,
        RECEIVE_POST,
        PARSE_FILE,
        CREATE_MAILING_LIST,
        IMPORT_CONTACTS,
        SCHEDULE_DISTRIBUTION,
        SCHEDULE_REMINDER,
    )
}
"""Every kind by its name."""

LEVEL_OF_FACT: Mapping[type[Fact], Level] = {kind.gives: kind.level for kind in KINDS.values()}
"""Whether a fact is true of the whole run or of one batch: the latter stays behind at a fan-in."""
