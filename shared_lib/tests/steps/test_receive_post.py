"""A client's POST: taken with its signature alone, one run a key, and answered only when nothing can be lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.channels.http_requests import http_event
from qualtrics_etl.errors import PermanentError, RetryableError, WorkflowError
from qualtrics_etl.ledger import Entry, State
from qualtrics_etl.messages import MESSAGE_LIFETIME, FileFetched, FilePosted, Message

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place, Poster

CONTENT = b"email,first_name,branch\nana@client.example,Ana,North\n"


def claim(place: Place) -> Entry:
    """Return what the ledger says of the one key that was used."""
    (key,) = place.keys("files/posted/receive_post/")
    return Entry.decode(place.text(key).encode())


def test_post_is_stored_claimed_and_sent(poster: Poster, place: Place) -> None:
    """What is answered with 202 lies in the store, is claimed by its key, and waits in the service's own queue."""
    answer = poster.post(CONTENT)
    (waiting,) = place.waiting("receive_post")
    message = Message.decode(waiting.body)
    posted = message.fact(FilePosted)
    assert answer == (202, {"run": message.run, "sha256": posted.sha256, "bytes": len(CONTENT)})
    assert place.text(posted.key).encode() == CONTENT
    assert posted.key.startswith(f"payloads/{message.run}/receive_post/")
    assert (claim(place).state, claim(place).fact) == (State.INTENT, posted)
    assert message.expires_at == place.clock.now() + MESSAGE_LIFETIME


def test_its_message_begins_the_run(poster: Poster, place: Place) -> None:
    """The next service gets the file under the client's name, and the key counts as done."""
    poster.post(CONTENT, name="crm export.csv")
    place.run_only("receive_post")
    (waiting,) = place.waiting("parse_file")
    message = Message.decode(waiting.body)
    fetched = message.fact(FileFetched)
    assert message.context == (fetched,)
    assert (fetched.name, fetched.size, place.text(fetched.key).encode()) == ("crm export.csv", len(CONTENT), CONTENT)
    assert claim(place).state is State.DONE


def test_whole_workflow_follows(poster: Poster, place: Place) -> None:
    """What is POSTed ends as a file does: a list, an invitation and a reminder."""
    poster.post()
    place.run()
    assert place.members() == [f"p{n}@client.example" for n in range(3)]
    assert (len(place.lists()), place.scheduled()) == (1, ["Invite", "Reminder"])


def test_repeat_has_the_same_answer(poster: Poster, place: Place) -> None:
    """The same key with the same bytes is the same run: before its message is worked on, and for good after it."""
    first = poster.post(CONTENT)
    place.clock.advance(100)
    assert poster.post(CONTENT) == first
    place.run()
    sent = len(place.transport.sent)
    place.clock.advance(200 * 86_400)
    assert poster.post(CONTENT) == first
    assert place.waiting("receive_post") == []
    assert len(place.transport.sent) == sent


def test_repeats_send_the_same_message(poster: Poster, place: Place) -> None:
    """Whenever a POST is repeated, what is sent is the first one's message, to the letter."""
    poster.post(CONTENT)
    place.clock.advance(100)
    poster.post(CONTENT, name="other.csv")
    first, second = place.waiting("receive_post")
    assert first.body == second.body


def test_key_of_another_content_is_refused(poster: Poster, place: Place) -> None:
    """A key stands for one content: another one is 409, keeps nothing, and the first goes on."""
    poster.post(CONTENT)
    before = place.keys("")
    status, answer = poster.post(CONTENT + b"ben@client.example,Ben,South\n") or (0, {})
    assert (status, answer["error"]) == (409, "The key was used before, for another content.")
    assert "a key of its own" in answer["remedy"]
    assert place.keys("") == before
    assert len(place.waiting("receive_post")) == 1


def test_another_key_is_another_run(poster: Poster, place: Place) -> None:
    """The same content under another key is done again: the client says so by the key."""
    runs = {str((poster.post(CONTENT, key) or (0, {}))[1]["run"]) for key in ("2026-01-15", "2026-01-16")}
    place.run()
    assert len(runs) == len(place.lists()) == 2


def test_nothing_is_looked_at_before_the_signature(poster: Poster, place: Place) -> None:
    """Without a signature that fits, key, name and content don't matter: 401, and neither store nor queue is asked."""
    headers = poster.headers(CONTENT, "no", name="../no") | {"Content-Type": "multipart/form-data"}
    headers["X-Signature"] = headers["X-Signature"][:-1] + "x"
    answers = [
        poster.send(http_event("POST", "/receive_post", headers, CONTENT)),
        poster.post(CONTENT, age_seconds=301),
        poster.post(CONTENT, age_seconds=-301),
    ]
    assert [answer and answer[0] for answer in answers] == [401, 401, 401]
    assert place.keys("") == []
    assert place.waiting("receive_post") == []


def test_window_is_a_setting(poster: Poster, place: Place) -> None:
    """How old a signature may be is told in the stage's config."""
    place.post = {"replay_window_seconds": 60}
    answers = [poster.post(CONTENT, age_seconds=age) for age in (60, 61)]
    assert [answer and answer[0] for answer in answers] == [202, 401]


@pytest.mark.parametrize(("what", "skip"), [("put payloads/", 0), ("put files/posted/", 1), ("send receive_post", 0)])
def test_store_that_fails_asks_for_a_repeat(poster: Poster, place: Place, what: str, skip: int) -> None:
    """A POST that could not be stored or sent is 503 with a time to come again; the repeat is accepted."""
    place.mishap(what, RetryableError("No answer."), after=True)
    if skip:  # an entry is put twice before it is given up
        place.mishap("get files/posted/", RetryableError("No answer."), skip=skip)
    status, answer = poster.post(CONTENT) or (0, {})
    assert (status, answer["error"]) == (503, "The POST could not be stored.")
    assert "after 30 seconds" in answer["remedy"]
    poster.post_until_accepted(CONTENT)
    place.run()
    assert place.members() == ["ana@client.example"]


def test_answer_says_when_to_come_again(poster: Poster, place: Place) -> None:
    """The header that clients understand by themselves goes along with a 503, and nothing on the way keeps it."""
    place.mishap("put payloads/", RetryableError("No answer."))
    step = place.step("receive_post")
    event = http_event("POST", "/receive_post", poster.headers(CONTENT, "2026-01-15"), CONTENT)
    assert step.answer(event)["headers"] == {  # type: ignore[attr-defined]  # of this kind of step
        "content-type": "application/json",
        "cache-control": "no-store",
        "retry-after": "30",
    }


@pytest.mark.parametrize("value", [None, "unset-and-short"])
def test_missing_secret_is_ours_to_mend(
    poster: Poster, place: Place, logged: Callable[[], str], value: str | None
) -> None:
    """Without a secret nobody is let in: 503, and the log rings the alarm for wrong settings, without the value."""
    place.secrets.pop("post_signing_secret")
    if value:
        place.secrets["post_signing_secret"] = value
    status, answer = poster.post(CONTENT) or (0, {})
    assert (status, answer["error"]) == (503, "The receiver is not set up.")
    assert "setting_wrong" in logged()
    assert "post_signing_secret" in logged()
    assert value is None or value not in logged()


def test_missing_block_is_ours_to_mend(poster: Poster, place: Place, logged: Callable[[], str]) -> None:
    """A stage whose config has no `post` takes none, and says what to write."""
    place.post = None
    status, _ = poster.post(CONTENT) or (0, {})
    assert (status, "config/local.yml has no `post`" in logged()) == (503, True)


def test_fault_of_ours_is_raised_without_its_text(poster: Poster, place: Place) -> None:
    """What no repeat mends fails the function, so that the alarm rings; the error quotes nothing of the client's."""
    place.mishap("put payloads/", ValueError("ana@client.example"))
    with pytest.raises(PermanentError, match="ValueError at ") as caught:
        poster.post(CONTENT)
    assert "ana@" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_forgotten_post_is_begun_anew(poster: Poster, place: Place) -> None:
    """A POST whose message was lost for longer than a message lives is begun by its repeat, with a new end."""
    place.mishap("send receive_post")
    assert poster.post(CONTENT) is None
    place.clock.advance(MESSAGE_LIFETIME.total_seconds() + 60)
    for key in place.keys("payloads/"):
        place.bucket.delete(key)
    poster.post_until_accepted(CONTENT)
    place.run()
    assert place.members() == ["ana@client.example"]


def test_two_at_once_begin_one_run(poster: Poster, place: Place) -> None:
    """A POST that overtakes another of the same key is the same run; one with other bytes loses."""
    place.meanwhile("put files/posted/", lambda: poster.post(CONTENT))
    answer = poster.post(CONTENT)
    assert answer is not None
    assert answer[0] == 202
    place.run()
    assert place.members() == ["ana@client.example"]
    assert len(place.lists()) == 1


def test_two_contents_at_once_under_one_key_begin_one_run(poster: Poster, place: Place) -> None:
    """Of two contents under one key at the same time, the one that is claimed first is the run."""
    place.meanwhile("put files/posted/", lambda: poster.post(b"email,first_name,branch\nben@client.example,Ben,S\n"))
    assert (poster.post(CONTENT) or (0,))[0] == 409
    place.run()
    assert place.members() == ["ben@client.example"]


def test_serial_service_takes_posts(poster: Poster, place: Place) -> None:
    """In a FIFO queue a repeat is the same message, and is dropped by the queue itself."""
    place.use("receive_post", "parse_file", receive_post={"concurrency": "serial"})
    poster.post(CONTENT)
    poster.post(CONTENT)
    assert len(place.waiting("receive_post")) == 1


def test_refusals_are_logged_without_what_was_sent(poster: Poster, logged: Callable[[], str]) -> None:
    """Neither the secret nor the key, the name, the body or the signature of a POST is logged."""
    poster.post(CONTENT, age_seconds=1000)
    poster.post(CONTENT, key="canary key")
    poster.post(CONTENT, name="canary/name")
    poster.post(CONTENT)
    assert [line.split(" ")[0] for line in logged().splitlines()] == [*["post_refused"] * 3, "post_received"]
    assert [word for word in ("canary", "ana@", "v1=") if word in logged()] == []


def test_schedule_has_no_meaning_for_it(place: Place) -> None:
    """A service that the client starts has no schedule, and says so."""
    with pytest.raises(WorkflowError, match="`receive_post` has a `schedule`, and is started by what the client sends"):
        place.use("receive_post", "parse_file", receive_post={"schedule": "rate(1 hour)"})


def test_message_that_leads_elsewhere_is_put_aside(place: Place) -> None:
    """A message that was not written by us can't have the file of another run parsed."""
    place.use("receive_post", "parse_file")
    foreign = FilePosted("0" * 64, 0, "x.csv", "payloads/other-run/receive_post/x", 1, "0" * 64)
    place.send(place.message("receive_post", foreign))
    place.run_only("receive_post")
    assert "its data lies below payloads/" in place.cause("receive_post")


def test_its_log_level_is_no_error(poster: Poster, caplog: pytest.LogCaptureFixture) -> None:
    """Who tries without a secret rings no alarm: refusals are warnings."""
    caplog.set_level(logging.INFO)
    poster.post(CONTENT, age_seconds=1000)
    assert [record.levelno for record in caplog.records if record.name == "qualtrics_etl"] == [logging.WARNING]
