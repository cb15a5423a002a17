"""What a simulator knows before the first call: brand, tokens, directories, surveys, libraries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from qualtrics_etl.simulator.accounts.models import SCOPES, OAuthClient, User
from qualtrics_etl.simulator.directories.models import DeduplicationCriteria, Directory
from qualtrics_etl.simulator.ids import is_id
from qualtrics_etl.simulator.libraries.models import CATEGORIES, Library, Message
from qualtrics_etl.simulator.snapshot import build, from_json, to_json
from qualtrics_etl.simulator.surveys.models import Survey

EXAMPLE_TOKEN = "ExampleTokenOfTheSimulator00000000000000"  # noqa: S105 - opens nothing but a simulator
EXAMPLE_DIRECTORY_ID = "POOL_ExampleDirector"
EXAMPLE_SURVEY_ID = "SV_ExampleSurvey01"
EXAMPLE_LIBRARY_ID = "UR_ExampleLibrary1"
EXAMPLE_INVITE_ID = "MS_ExampleInvite01"
EXAMPLE_REMINDER_ID = "MS_ExampleReminder"
EXAMPLE_THANK_YOU_ID = "MS_ExampleThankYou"


@dataclass(slots=True)
class Seed:
    """What is there from the start. As JSON, it has the same names.

    Attributes:
        tokens: API tokens that are accepted.
        oauth_clients: Clients that may fetch access tokens.
        user: Whose tokens these are.
        directories: With the contacts that are in them already.
        surveys: Surveys that distributions may name.
        libraries: With their messages.

    Raises:
        ValueError: An id has not the API's form, occurs twice, or a scope or category does not exist.
    """

    tokens: list[str] = field(default_factory=list)
    oauth_clients: list[OAuthClient] = field(default_factory=list)
    user: User = field(default_factory=User)
    directories: list[Directory] = field(default_factory=list)
    surveys: list[Survey] = field(default_factory=list)
    libraries: list[Library] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check_ids((directory.directory_id for directory in self.directories), "POOL")
        _check_ids((survey.survey_id for survey in self.surveys), "SV")
        _check_ids((library.library_id for library in self.libraries), "UR", "GR")
        for library in self.libraries:
            _check_ids((message.message_id for message in library.messages), "MS")
            _check_words("category", (message.category for message in library.messages), CATEGORIES)
        for client in self.oauth_clients:
            _check_words("scope", client.scopes, SCOPES)

    @classmethod
    def example(cls) -> Seed:
        """Return a small brand: one directory that de-duplicates by e-mail, a survey, a library with three messages."""
        return cls.for_ids(
            token=EXAMPLE_TOKEN,
            directory_id=EXAMPLE_DIRECTORY_ID,
            survey_ids=[EXAMPLE_SURVEY_ID],
            messages=[
                (EXAMPLE_LIBRARY_ID, EXAMPLE_INVITE_ID, "invite"),
                (EXAMPLE_LIBRARY_ID, EXAMPLE_REMINDER_ID, "reminder"),
                (EXAMPLE_LIBRARY_ID, EXAMPLE_THANK_YOU_ID, "thankYou"),
            ],
        )

    @classmethod
    def for_ids(
        cls,
        *,
        token: str,
        directory_id: str,
        survey_ids: Iterable[str] = (),
        messages: Iterable[tuple[str, str, str]] = (),
    ) -> Seed:
        """Return a brand that knows the ids of somebody's settings.

        Args:
            token: The API token that is accepted.
            directory_id: A directory that de-duplicates by e-mail.
            survey_ids: Each once or more often.
            messages: Library id, message id, category of the message; each once or more often.
        """
        libraries: dict[str, Library] = {}
        for library_id, message_id, category in messages:
            library = libraries.setdefault(library_id, Library(library_id))
            if library.message(message_id) is None:
                library.messages.append(Message(message_id, category, f"Example {category}"))
        return cls(
            tokens=[token],
            oauth_clients=[OAuthClient("example-client", "example-secret")],
            directories=[Directory(directory_id, deduplication=DeduplicationCriteria(email=True))],
            surveys=[Survey(survey_id) for survey_id in dict.fromkeys(survey_ids)],
            libraries=list(libraries.values()),
        )

    @classmethod
    def from_json(cls, raw: object) -> Seed:
        """Read a seed from parsed JSON.

        Raises:
            ValueError: Keys, types or ids don't fit; names them.
        """
        return build(cls, raw)

    def copy(self) -> Seed:
        """Return a seed that shares nothing with this one."""
        return from_json(Seed, to_json(self))


def _check_ids(ids: Iterable[str], *prefixes: str) -> None:
    seen: set[str] = set()
    for each in ids:
        if not is_id(each, *prefixes):
            raise ValueError(f"{each!r} is not an id like {prefixes[0]}_ and 15 letters and digits.")
        if each in seen:
            raise ValueError(f"{each!r} is seeded twice.")
        seen.add(each)


def _check_words(what: str, words: Iterable[str], known: Iterable[str]) -> None:
    if unknown := sorted(set(words) - set(known)):
        raise ValueError(f"There is no {what} {', '.join(unknown)}.")
