"""Steps whose work may be repeated: the same message leads to the same objects, whoever does it, however often."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from typing_extensions import override

from qualtrics_etl.errors import InputError, PermanentError
from qualtrics_etl.ledger import Cause, Entry, State
from qualtrics_etl.messages import Message
from qualtrics_etl.steps.base import Delivery, Step
from qualtrics_etl.steps.outcomes import Ended


class RepeatableStep(Step):
    """A step that needs no claim: it does its work, then records the end, and an earlier end stands."""

    @abstractmethod
    def _work(self, message: Message, delivery: Delivery) -> Ended:
        """Do the work."""

    @override
    def _work_on(self, message: Message, delivery: Delivery) -> Entry:
        key, generation = self._key(message), message.generation
        held = self._ledger.read(key) if self._may_have_entry(message, delivery) else None
        if held is None or (held.entry.state is State.FAILED and generation > held.entry.generation):
            try:
                entry = self._done(message, self._work(message, delivery))
            except (PermanentError, InputError) as error:
                entry = Entry(State.FAILED, cause=Cause.of(error))
            held = self._ledger.settle(key, replace(entry, generation=generation))
        return held.entry
