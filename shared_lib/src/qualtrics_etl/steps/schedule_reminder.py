"""A reminder to those who have not finished; several services may run this step, one a reminder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

import orjson
from pydantic import Field
from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.messages import DistributionScheduled, Message, ReminderScheduled
from qualtrics_etl.steps.calling import CallingStep
from qualtrics_etl.steps.contexts import RunContext
from qualtrics_etl.steps.mail import MailSettings, build_mail, checked_send_date
from qualtrics_etl.steps.outcomes import Prepared


class ScheduleReminderSettings(MailSettings):
    """What `schedule_reminder` can be told.

    Attributes:
        send_after_days: How long after the invitation the reminder goes out.
    """

    send_after_days: Annotated[int, Field(ge=0, le=365)] = 3


class ScheduleReminder(CallingStep):
    """Schedule a reminder of the run's invitation.

    Never repeated blindly: the request carries a key of ours, and before a second call the survey's distributions
    are searched for it.
    """

    kind: ClassVar[Kind] = catalogue.SCHEDULE_REMINDER
    Settings = ScheduleReminderSettings

    def choose_send_date(self, *, invitation_sent: datetime, context: RunContext) -> datetime:
        """Choose when the reminder goes out.

        Called once a run; later attempts send the same date. The default is `send_after_days` after the invitation.

        Args:
            invitation_sent: When the invitation goes out, UTC.

        Returns:
            A time with a time zone.
        """
        return invitation_sent + timedelta(days=self.settings.send_after_days)

    @override
    def _prepare(self, message: Message, key: str) -> Prepared:
        from qualtrics_etl.qualtrics import distributions

        invitation_sent = datetime.fromisoformat(message.fact(DistributionScheduled).send_date)
        date = self.choose_send_date(invitation_sent=invitation_sent, context=self._context(message))
        checked = checked_send_date(date, self._hook_name("choose_send_date"))
        return Prepared(distributions.build_reminder_body(build_mail(self.settings, checked, key)))

    @override
    def _call(self, body: bytes, key: str, message: Message, notes: Mapping[str, int]) -> ReminderScheduled:
        from qualtrics_etl.qualtrics import distributions

        parent = message.fact(DistributionScheduled).distribution_id
        return _fact(distributions.create_reminder(self._client_for(message), parent, body), body)

    @override
    def _reconcile(self, body: bytes, key: str, message: Message) -> ReminderScheduled | None:
        from qualtrics_etl.qualtrics import distributions

        survey_id = message.fact(DistributionScheduled).survey_id
        found = distributions.find_by_key(self._client_for(message), survey_id, key)
        return _fact(found.distribution_id, body) if found else None

    @property
    def settings(self) -> ScheduleReminderSettings:
        """What the service was told."""
        assert isinstance(self._checked_settings, ScheduleReminderSettings)
        return self._checked_settings


def _fact(reminder_id: str, body: bytes) -> ReminderScheduled:
    return ReminderScheduled(reminder_id, orjson.loads(body)["sendDate"])
