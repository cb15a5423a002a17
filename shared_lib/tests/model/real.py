"""The library's own calling steps, and hooks of a client, as automata that meet Qualtrics through the network."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import orjson
from typing_extensions import override

from qualtrics_etl import (
    Contact,
    CreateMailingList,
    ImportContacts,
    RowContext,
    RowValues,
    RunContext,
    ScheduleDistribution,
    ScheduleReminder,
)
from qualtrics_etl.errors import NotYetError, PermanentError, RetryableError
from qualtrics_etl.formats.batches import Batch, Position, encode_batch
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.messages import DistributionScheduled, Fact, MailingListCreated
from qualtrics_etl.qualtrics import Request, Response
from qualtrics_etl.settings import StageConfig
from qualtrics_etl.steps.base import Step

from .automaton import (
    BATCHES_AT,
    BODIES,
    CONFIG,
    PATIENCE,
    START,
    TICK_SECONDS,
    Automaton,
    Call,
    Check,
    Look,
    Search,
    Tape,
)

DIRECTORY = CONFIG.qualtrics.directory_id
MAIL = {
    "library_id": "UR_ExampleLibrary1",
    "message_id": "MS_ExampleInvite01",
    "from_email": "surveys@client.example",
    "from_name": "Client",
    "reply_to_email": "help@client.example",
    "subject": "How was it?",
}
SETTINGS = {
    "schedule_distribution": {**MAIL, "survey_id": "SV_ExampleSurvey01"},
    "schedule_reminder": MAIL,
    "import_contacts": {"max_wait_seconds": PATIENCE * TICK_SECONDS},
}
_END = Position(0, 2, 1, 1, 0, ",", "utf-8", ("email",))
BODIES[f"{BATCHES_AT}/all"] = encode_batch(
    Batch(0, ("email",), (b'["p@client.example"]',), (2,), _END, _END, is_last=True)
)


class TapeNetwork:
    """The network: requests are asked for as what they mean, and answered as Qualtrics does."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._unreachable = 0

    def send(self, request: Request) -> Response:
        """Send a request; a GET that fails does so for all tries of its call."""
        if self._unreachable:
            self._unreachable -= 1
            raise RetryableError("Nothing was sent.", call_made=False)
        try:
            return _response(200, self._result(request))
        except RetryableError:
            self._unreachable = 2 if request.method == "GET" else 0
            raise
        except PermanentError:
            return _response(400, {})
        except NotYetError:
            return _response(429, {})

    def _result(self, request: Request) -> Mapping[str, object]:
        last = request.path.rpartition("/")[2]
        if request.method == "POST":
            assert request.body is not None
            number = self.tape.ask(Call(_key_in(request.body), request.body))[1]
            return {"id": f"XX_{number}", "contacts": {}}
        if last == "directories":
            is_safe = self.tape.ask(Check())[0] == "yes"
            return _elements({"directoryId": DIRECTORY, "deduplicationCriteria": {"email": is_safe}})
        if "transactioncontacts" in request.path:
            status = self.tape.ask(Look(int(last.removeprefix("XX_"))))[0]
            count = {"added": int(status == "ended well"), "updated": 0, "failed": 0}
            percent, words = {"running": (50, "inProgress"), "ended well": (100, "complete")}[status]
            return {"percentComplete": percent, "status": words, "contacts": {"count": count}}
        _, *listed = self.tape.ask(Search())
        found = zip(listed[::2], listed[1::2], strict=True)
        return _elements(*({"id": f"XX_{i}", "name": key, "embeddedData": {"qetl_key": key}} for i, key in found))


def _elements(*elements: Mapping[str, object]) -> Mapping[str, object]:
    return {"elements": elements, "nextPage": None}


def _response(status: int, result: Mapping[str, object]) -> Response:
    return Response(status, {}, orjson.dumps({"result": result, "meta": {"requestId": "r-1"}}))


def _key_in(body: bytes) -> str:
    """Return what a request's effect is listed under: our key, or a list's name."""
    sent = orjson.loads(body)
    return str(sent.get("name") or sent.get("embeddedData", {}).get("qetl_key", ""))


class _Numbered(Step):
    """A client's overrides, whose answers differ from attempt to attempt."""

    def number(self) -> int:
        """Return a number that tells this attempt's request from all others."""
        assert isinstance(self._wiring.transport, TapeNetwork)
        return self._wiring.transport.tape.new_body()


class ListOfAttempt(_Numbered, CreateMailingList):
    """Names the list anew at each attempt."""

    @override
    def build_name(self, *, context: RunContext) -> str:
        return f"list {self.number()}"


class ContactsOfAttempt(_Numbered, ImportContacts):
    """Says something else of people at each attempt."""

    @override
    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        return Contact(email="p@client.example", first_name=str(self.number()))


class InvitationOfAttempt(_Numbered, ScheduleDistribution):
    """Chooses another date at each attempt."""

    @override
    def choose_send_date(self, *, context: RunContext) -> datetime:
        return START + timedelta(days=self.number())


class ReminderOfAttempt(_Numbered, ScheduleReminder):
    """Chooses another date at each attempt."""

    @override
    def choose_send_date(self, *, invitation_sent: datetime, context: RunContext) -> datetime:
        return invitation_sent + timedelta(days=self.number())


FACTS: tuple[Fact, ...] = (
    MailingListCreated("CG_1", "list"),
    DistributionScheduled("EMD_1", "SV_ExampleSurvey01", "2026-11-23T09:00:00Z"),
)


def real(step: type[Step]) -> Automaton:
    """Return one of the library's calling steps as an automaton."""
    config = StageConfig.model_validate({**CONFIG.model_dump(), "services": SETTINGS})
    secrets = FixedSecrets({"qualtrics_api_token": "token"})
    return Automaton(step, *FACTS, connect=TapeNetwork, config=config, secrets=secrets)
