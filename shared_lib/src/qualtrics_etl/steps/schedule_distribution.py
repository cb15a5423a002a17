"""The invitation: scheduled once a run, when all its contacts are in the mailing list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

import orjson
from pydantic import Field
from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.messages import DistributionScheduled, MailingListCreated, Message
from qualtrics_etl.settings import SurveyId
from qualtrics_etl.steps.calling import CallingStep
from qualtrics_etl.steps.contexts import RunContext
from qualtrics_etl.steps.mail import MailSettings, build_mail, checked_send_date
from qualtrics_etl.steps.outcomes import Prepared


class ScheduleDistributionSettings(MailSettings):
    """What `schedule_distribution` can be told.

    Attributes:
        survey_id: The survey people are invited to: `SV_...`.
        send_after_minutes: How long after the contacts are in the invitation goes out.
        link_type: `Individual` (a link a person), `Anonymous` or `Multiple`.
        link_expires_after_days: For how long a link works.
    """

    survey_id: SurveyId
    send_after_minutes: Annotated[int, Field(ge=0, le=525_600)] = 60
    link_type: Literal["Individual", "Anonymous", "Multiple"] = "Individual"
    link_expires_after_days: Annotated[int, Field(ge=1, le=730)] = 60


class ScheduleDistribution(CallingStep):
    """Schedule the invitation to the run's mailing list.

    Never repeated blindly: the request carries a key of ours, and before a second call the survey's distributions
    are searched for it.
    """

    kind: ClassVar[Kind] = catalogue.SCHEDULE_DISTRIBUTION
    Settings = ScheduleDistributionSettings

    def choose_send_date(self, *, context: RunContext) -> datetime:
        """Choose when the invitation goes out.

        Called once a run; later attempts send the same date. The default is `send_after_minutes` from now. A date
        in the past sends at once.

        Returns:
            A time with a time zone.
        """
        return context.now + timedelta(minutes=self.settings.send_after_minutes)

    @override
    def _prepare(self, message: Message, key: str) -> Prepared:
        from qualtrics_etl.qualtrics import distributions

        date = checked_send_date(
            self.choose_send_date(context=self._context(message)), self._hook_name("choose_send_date")
        )
        body = distributions.build_invitation_body(
            build_mail(self.settings, date, key),
            survey_id=self.settings.survey_id,
            mailing_list_id=message.fact(MailingListCreated).mailing_list_id,
            link_type=self.settings.link_type,
            link_expires_at=date + timedelta(days=self.settings.link_expires_after_days),
        )
        return Prepared(body)

    @override
    def _call(self, body: bytes, key: str, message: Message, notes: Mapping[str, int]) -> DistributionScheduled:
        from qualtrics_etl.qualtrics import distributions

        return _fact(distributions.create(self._client_for(message), body), body)

    @override
    def _reconcile(self, body: bytes, key: str, message: Message) -> DistributionScheduled | None:
        from qualtrics_etl.qualtrics import distributions

        survey_id = orjson.loads(body)["surveyLink"]["surveyId"]
        found = distributions.find_by_key(self._client_for(message), survey_id, key)
        return _fact(found.distribution_id, body) if found else None

    @property
    def settings(self) -> ScheduleDistributionSettings:
        """What the service was told."""
        assert isinstance(self._checked_settings, ScheduleDistributionSettings)
        return self._checked_settings


def _fact(distribution_id: str, body: bytes) -> DistributionScheduled:
    sent = orjson.loads(body)
    return DistributionScheduled(distribution_id, sent["surveyLink"]["surveyId"], sent["sendDate"])
