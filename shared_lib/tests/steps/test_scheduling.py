"""Invitation and reminder go out when settings or hook say, with the settings' sender and message."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import orjson
import pytest
from typing_extensions import override

from qualtrics_etl import RunContext, ScheduleDistribution, ScheduleReminder
from qualtrics_etl.errors import ConfigurationError

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place


def sent(place: Place, end: str) -> dict[str, object]:
    """Return the one request that was sent to an endpoint."""
    (request,) = [each for each in place.transport.sent if each.method == "POST" and each.path.endswith(end)]
    assert request.body is not None
    body: dict[str, object] = orjson.loads(request.body)
    return body


def test_invitation_is_what_the_settings_say(place: Place, contacts: Callable[..., bytes]) -> None:
    """Sender, message, survey, list, date and life of the links; and a key of ours to find it by."""
    place.begin(contacts(1))
    place.run()
    body = sent(place, "/distributions")
    list_id = next(iter(place.simulator.state.mailing_lists))
    key = body.pop("embeddedData")
    assert list(key) == ["qetl_key"]  # type: ignore[call-overload]  # it is an object, or the test fails
    assert body == {
        "message": {"libraryId": "UR_ExampleLibrary1", "messageId": "MS_ExampleInvite01"},
        "header": {
            "fromEmail": "surveys@client.example",
            "fromName": "Client",
            "replyToEmail": "help@client.example",
            "subject": "How was it?",
        },
        "sendDate": "2026-11-22T10:00:10Z",
        "recipients": {"mailingListId": list_id},
        "surveyLink": {
            "surveyId": "SV_ExampleSurvey01",
            "type": "Individual",
            "expirationDate": "2027-01-21T10:00:10Z",
        },
    }


def test_reminder_follows_the_invitation(place: Place, contacts: Callable[..., bytes]) -> None:
    """The reminder's date counts from the invitation's, and it hangs below it."""
    place.settings["schedule_reminder"] = {"send_after_days": 5}
    place.begin(contacts(1))
    place.run()
    assert sent(place, "/reminders")["sendDate"] == "2026-11-27T10:00:10Z"
    invitation, reminder = place.simulator.state.post.distributions.values()
    assert reminder.parent_id == invitation.distribution_id


class OnMonday(ScheduleDistribution):
    """Mondays, at eight in Berlin."""

    @override
    def choose_send_date(self, *, context: RunContext) -> datetime:
        return datetime(2026, 11, 23, 8, 0, 0, 999, tzinfo=timezone(timedelta(hours=1)))


class NextDay(ScheduleReminder):
    """A day later."""

    @override
    def choose_send_date(self, *, invitation_sent: datetime, context: RunContext) -> datetime:
        return invitation_sent + timedelta(days=1)


def test_hooks_choose_the_dates(place: Place, contacts: Callable[..., bytes]) -> None:
    """Any zone will do; what is sent is UTC in whole seconds."""
    place.steps |= {"schedule_distribution": OnMonday, "schedule_reminder": NextDay}
    place.begin(contacts(1))
    place.run()
    assert sent(place, "/distributions")["sendDate"] == "2026-11-23T07:00:00Z"
    assert sent(place, "/reminders")["sendDate"] == "2026-11-24T07:00:00Z"


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (None, "a NoneType"),
        ("2026-11-23", "a str"),
        (datetime(2026, 11, 23), "a datetime without a time zone"),
    ],
)
@pytest.mark.parametrize("service", ["schedule_distribution", "schedule_reminder"])
def test_wrong_date_of_a_hook_is_named(
    place: Place, contacts: Callable[..., bytes], service: str, answer: object, what: str
) -> None:
    """What is no time says which hook returned it."""
    base = ScheduleDistribution if service == "schedule_distribution" else ScheduleReminder
    place.steps[service] = type("Chooses", (base,), {"choose_send_date": lambda self, **facts: answer})
    place.begin(contacts(1))
    place.run()
    assert place.cause(service) == (
        f"Chooses.choose_send_date returned {what}. Return a datetime with a time zone, for example context.now + ..."
    )


def test_date_is_fixed_at_the_first_claim(place: Place, contacts: Callable[..., bytes]) -> None:
    """However long the call is put off, the date that was chosen first is sent."""
    place.fault("throttle_retry_after", path="/distributions", seconds=800, count=3)
    place.begin(contacts(1))
    place.run()
    dates = {
        orjson.loads(each.body or b"")["sendDate"] for each in place.transport.sent if each.path.endswith("butions")
    }
    assert dates == {"2026-11-22T10:00:10Z"}
    assert place.clock.now() > datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def test_settings_that_are_missing_are_named(place: Place) -> None:
    """A service that isn't told its survey can't start, and says what is missing and where it belongs."""
    place.settings["schedule_distribution"] = {"survey_id": "wrong"}
    with pytest.raises(ConfigurationError) as caught:
        place.step("schedule_distribution")
    assert str(caught.value) == (
        "The settings of schedule_distribution can't be used: `survey_id` is 'wrong': string should match pattern"
        " '^SV_[0-9A-Za-z]{15}$'. See workflow.yml (services.schedule_distribution.settings) or config/local.yml"
        " (services.schedule_distribution)."
    )
