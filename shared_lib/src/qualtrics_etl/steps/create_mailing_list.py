"""One mailing list a run, named from the run, so that it can be found again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import orjson
from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.messages import MailingListCreated, Message
from qualtrics_etl.steps.calling import CallingStep
from qualtrics_etl.steps.contexts import RunContext
from qualtrics_etl.steps.outcomes import Prepared

MAX_NAME_CHARACTERS = 100
"""Source: Qualtrics API reference, the page on creating a mailing list."""


class CreateMailingList(CallingStep):
    """Create the run's mailing list.

    Done once: names are not unique in Qualtrics, so the name carries the run's own hash, and before a repeat the
    directory is searched for it.
    """

    kind: ClassVar[Kind] = catalogue.CREATE_MAILING_LIST

    def build_name(self, *, context: RunContext) -> str:
        """Name the list, as the people who work in Qualtrics will see it.

        Called once a run. Override it to use the client's own words. The run's hash is added, so that the list can
        be found again, and what does not fit before it is cut off (Qualtrics takes 100 characters). The default is
        the client's file name, or the workflow's name.
        """
        return context.file_name or context.workflow

    @override
    def _prepare(self, message: Message, key: str) -> Prepared:
        from qualtrics_etl.qualtrics import mailing_lists

        return Prepared(mailing_lists.build_create_body(self._name(message)))

    @override
    def _call(self, body: bytes, key: str, message: Message, notes: Mapping[str, int]) -> MailingListCreated:
        from qualtrics_etl.qualtrics import mailing_lists

        created = mailing_lists.create(self._client_for(message), self._directory_id, body)
        return MailingListCreated(created, _name_in(body))

    @override
    def _reconcile(self, body: bytes, key: str, message: Message) -> MailingListCreated | None:
        from qualtrics_etl.qualtrics import mailing_lists

        name = _name_in(body)
        found = mailing_lists.find_by_name(self._client_for(message), self._directory_id, name)
        return MailingListCreated(found[0].mailing_list_id, name) if found else None

    @property
    def _directory_id(self) -> str:
        return self._wiring.config.qualtrics.directory_id

    def _name(self, message: Message) -> str:
        name: object = self.build_name(context=self._context(message))
        if not isinstance(name, str) or not name.strip():
            returned = "an empty text" if isinstance(name, str) else f"a {type(name).__name__}"
            raise ConfigurationError(
                f"{self._hook_name('build_name')} returned {returned}.", remedy="Return the list's name, as text."
            )
        mark = f" [{self._mark(message)}]"
        return name[: MAX_NAME_CHARACTERS - len(mark)] + mark

    def _mark(self, message: Message) -> str:
        """Return what no other list of the directory has in its name: also not one that this run makes elsewhere."""
        mark = message.run.removeprefix(f"{message.workflow}-")
        kinds = [service.kind for service in self._wiring.workflow.services.values()]
        return mark if kinds.count(self.kind.name) == 1 else f"{mark} {self._wiring.service}"


def _name_in(body: bytes) -> str:
    name: str = orjson.loads(body)["name"]
    return name
