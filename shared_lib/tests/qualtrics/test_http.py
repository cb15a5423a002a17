"""The client: what a call returns, repeats, refuses and never gives away."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import (
    ConfigurationError,
    NotYetError,
    PermanentError,
    QualtricsEtlError,
    RetryableError,
)
from qualtrics_etl.qualtrics import ApiToken, Client, base_url_of, longest_call_seconds
from qualtrics_etl.qualtrics.registry import (
    CREATE_DISTRIBUTION,
    CREATE_MAILING_LIST,
    ENDPOINTS,
    GET_SURVEY,
    LIST_MAILING_LISTS,
    MAX_BODY_BYTES,
    START_CONTACT_IMPORT,
    WHO_AM_I,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Api

D = {"directory_id": "POOL_1"}
BASE = "https://fra1.qualtrics.com"


def test_call_returns_result_and_request_id(api: Api) -> None:
    """An answer is what stands under result, with the id that Qualtrics' support asks for."""
    api.answers({"userId": "UR_1"})
    answer = api.client.call(WHO_AM_I)
    assert (answer.result.content, answer.request_id) == ({"userId": "UR_1"}, "r-1")


def test_request_carries_token_query_and_endpoint_timeout(api: Api) -> None:
    """What is asked is what the registry and the caller say, and nothing else."""
    api.answers({})
    api.client.call(LIST_MAILING_LISTS, D, query={"pageSize": "100"})
    [sent] = api.requests
    assert (sent.method, sent.url) == ("GET", f"{BASE}/API/v3/directories/POOL_1/mailinglists?pageSize=100")
    assert sent.headers == {"X-API-TOKEN": "tOkEn5678901234567890123456789012345678", "Accept": "application/json"}
    assert (sent.body, sent.timeout_seconds) == (None, 6.0)


def test_body_is_sent_as_it_was_given(api: Api) -> None:
    """The exact bytes travel, so that a repeat is the same request."""
    api.answers({"id": "CG_1"})
    api.client.call(CREATE_MAILING_LIST, D, body=b'{ "name":"n" }')
    assert api.requests[0].body == b'{ "name":"n" }'
    assert api.requests[0].headers["Content-Type"] == "application/json"


def test_read_is_tried_three_times_within_two_seconds(api: Api) -> None:
    """Single failed reads are normal at Qualtrics, and no message is sent back for one."""
    for _ in range(3):
        api.refuses(503, "S_1", "busy")
    with pytest.raises(RetryableError) as caught:
        api.client.call(WHO_AM_I)
    assert str(caught.value) == "who_am_i: status 503 S_1 busy [request r-1]"
    assert (caught.value.call_made, len(api.requests), api.clock.waits) == (False, 3, [0.4, 1.2])
    assert sum(api.clock.waits) < 2


def test_read_that_succeeds_at_last_returns(api: Api) -> None:
    """A cut and a 500 before the answer are not seen by the caller."""
    api.fails(RetryableError("cut", call_made=True))
    api.refuses(500)
    api.answers({"userId": "UR_1"})
    assert api.client.call(WHO_AM_I).result.text("userId") == "UR_1"


def test_post_is_sent_once_and_may_have_had_its_effect(api: Api) -> None:
    """What could mail people twice is never repeated inside."""
    api.refuses(504, "", "Gateway Timeout")
    with pytest.raises(RetryableError) as caught:
        api.client.call(CREATE_DISTRIBUTION, body=b"{}")
    assert (caught.value.call_made, len(api.requests), api.clock.waits) == (True, 1, [])


@pytest.mark.parametrize("made", [True, False])
def test_transport_says_whether_a_post_was_made(api: Api, made: bool) -> None:
    """Only the transport knows whether anything was sent, and it is believed."""
    api.fails(RetryableError("fra1 was cut off.", call_made=made))
    with pytest.raises(RetryableError) as caught:
        api.client.call(CREATE_DISTRIBUTION, body=b"{}")
    assert (caught.value.call_made, str(caught.value)) == (made, "create_distribution: fra1 was cut off.")


def test_cut_read_had_no_effect(api: Api) -> None:
    """A read that was cut off needs no look whether it happened."""
    for _ in range(3):
        api.fails(RetryableError("cut", call_made=True))
    with pytest.raises(RetryableError) as caught:
        api.client.call(WHO_AM_I)
    assert caught.value.call_made is False


@pytest.mark.parametrize(
    ("said", "delay"),
    [
        ({"retry_after": "17"}, 17.0),
        ({"retry_after": "0"}, 1.0),
        ({"retry_after": "Sun, 22 Nov 2026 09:00:42 GMT"}, 42.0),
        ({"retry_after": "999999999"}, 3600.0),
        ({"retry_after": "soon"}, 4.0),
        ({"retry_after": "nan"}, 4.0),
        ({}, 4.0),
    ],
)
def test_throttled_call_says_how_long_to_wait(api: Api, said: dict[str, str], delay: float) -> None:
    """A 429 is obeyed in seconds and as a date, and is never repeated inside: that would use up the budget."""
    api.refuses(429, "", "slow down", **said)
    with pytest.raises(NotYetError) as caught:
        api.client.call(WHO_AM_I)
    assert (caught.value.delay_seconds, caught.value.call_made, len(api.requests)) == (delay, False, 1)
    assert caught.value.request_id == "r-1"


def test_wait_grows_with_the_attempts_up_to_a_bound(api: Api) -> None:
    """Where Qualtrics names no wait, ours doubles, but never leaves minutes of budget unused."""
    delays = []
    for attempt in (1, 2, 3, 50):
        api.refuses(429)
        with pytest.raises(NotYetError) as caught:
            api.client.for_attempt(attempt).call(WHO_AM_I)
        delays.append(caught.value.delay_seconds)
    assert delays == [4.0, 8.0, 16.0, 150.0]


@pytest.mark.parametrize(("status", "code"), [(401, "DCD_7"), (400, "ATP_2"), (400, "ATC_1")])
def test_unknown_token_names_the_secret_to_set(api: Api, status: int, code: str) -> None:
    """Who reads the error can paste the command that mends it."""
    api.refuses(status, code, "Unrecognized X-API-TOKEN.")
    with pytest.raises(ConfigurationError) as caught:
        api.client.call(CREATE_DISTRIBUTION, body=b"{}")
    assert str(caught.value) == (
        f"create_distribution: status {status} {code} Unrecognized X-API-TOKEN. [request r-1] "
        "Set it anew with `make secret NAME=qualtrics_api_token STAGE=dev`, or check qualtrics.datacenter in "
        "config/dev.yml: each data center knows its own only."
    )


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "Check survey_id in config/dev.yml."),
        (403, "Check survey_id in config/dev.yml and that the user of the credentials may use it."),
        (404, "Check survey_id in config/dev.yml and that the user of the credentials may use it."),
        (413, "Lower rows_per_batch of parse_file in workflow.yml."),
        (415, "Check survey_id in config/dev.yml."),
    ],
)
def test_refused_call_waits_for_a_person_with_the_remedy(api: Api, status: int, remedy: str) -> None:
    """A refusal carries Qualtrics' own words and the setting they are about."""
    api.refuses(status, "GSI_2", "Survey not found.")
    with pytest.raises(PermanentError) as caught:
        api.client.call(GET_SURVEY, {"survey_id": "SV_1"}, check="survey_id in config/<stage>.yml")
    assert str(caught.value) == f"get_survey: status {status} GSI_2 Survey not found. [request r-1] {remedy}"


def test_redirect_is_not_followed(api: Api) -> None:
    """The token does not go where a redirect leads; a host that redirects is not the API."""
    api.raw(302, b"<html>", location="https://login.example/")
    with pytest.raises(ConfigurationError) as caught:
        api.client.call(WHO_AM_I)
    assert caught.value.remedy == "Check qualtrics.datacenter in config/dev.yml: this host does not speak the API."
    assert len(api.requests) == 1


def test_http_status_is_trusted_not_the_one_inside(api: Api) -> None:
    """The body's own status can be wrong, so it decides nothing."""
    api.raw(200, b'{"result":{"a":1},"meta":{"httpStatus":"500 - Internal Server Error"}}')
    assert api.client.call(WHO_AM_I).result.content == {"a": 1}
    api.raw(404, b'{"result":{"a":1},"meta":{"httpStatus":"200 - OK"}}')
    with pytest.raises(PermanentError):
        api.client.call(WHO_AM_I)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"other": 1}', b'{"result": {', b"\xff"])
def test_answer_that_is_no_envelope_is_tried_again_later(api: Api, body: bytes) -> None:
    """What stands between us and Qualtrics may answer 200 too; that is not an effect that we know of."""
    api.raw(200, body)
    with pytest.raises(RetryableError) as caught:
        api.client.call(CREATE_DISTRIBUTION, body=b"{}")
    assert (caught.value.call_made, caught.value.request_id) == (True, None)


def test_large_body_is_refused_before_sending(api: Api) -> None:
    """Qualtrics never hears of a body that it would not take."""
    with pytest.raises(PermanentError) as caught:
        api.client.call(START_CONTACT_IMPORT, {**D, "mailing_list_id": "CG_1"}, body=b"x" * (MAX_BODY_BYTES + 1))
    assert "5,000,001 bytes" in caught.value.what
    assert api.requests == []


@pytest.mark.parametrize("bad", ["", "..", "a/b", "a?b", "SV_1\n", "ü"])
def test_malformed_id_is_refused_before_sending(api: Api, bad: str) -> None:
    """An id of the settings can't turn a call into another one."""
    with pytest.raises(ConfigurationError) as caught:
        api.client.call(GET_SURVEY, {"survey_id": bad}, check="survey_id in config/<stage>.yml")
    assert caught.value.remedy == "Check survey_id in config/dev.yml."
    assert api.requests == []


def test_pages_follow_the_address_as_it_is(api: Api) -> None:
    """The next page's address is used unchanged, and a missing one ends the list like a null."""
    first, second = f"{BASE}/API/v3/x?skipToken=a%2Bb", "https://az1.qualtrics.com/API/v3/x?proxyDepth=1&skipToken=c="
    api.answers({"elements": [{"id": "1"}, {"id": "2"}], "nextPage": first})
    api.answers({"elements": [], "nextPage": second})
    api.answers({"elements": [{"id": "3"}]})
    found = [element.text("id") for element in api.client.pages(LIST_MAILING_LISTS, D, query={})]
    assert found == ["1", "2", "3"]
    assert [request.url for request in api.requests][1:] == [first, second]


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/API/v3/x",
        "https://evil.example\\.qualtrics.com/x",
        "https://fra1.qualtrics.com@evil.example/x",
        "https://fra1.qualtrics.com.evil.example/x",
        "https://fra1.qualtrics.com.evil.example",
        "https://evilqualtrics.com/x",
        "https://az1.qualtrics.com:8443/x",
        "http://az1.qualtrics.com/x",
        "http://fra1.qualtrics.com/x",
        "https://evil.example/?.qualtrics.com/",
        "https://evil.example#.qualtrics.com/",
        "//az1.qualtrics.com/x",
        "/API/v3/x",
        "https://az1.qualtrics.com/x\r\nHost: evil.example",
        "https://fra1.qualtrics.com/x\r\nHost: evil.example",
        "https://fra1.qualtrics.com/x\\y",
        "file:///etc/passwd",
    ],
)
def test_token_never_follows_a_page_elsewhere(api: Api, elsewhere: str) -> None:
    """The token goes with every page, so only Qualtrics' own hosts are asked for one, over https."""
    api.answers({"elements": [], "nextPage": elsewhere})
    with pytest.raises(PermanentError):
        list(api.client.pages(LIST_MAILING_LISTS, D, query={}))
    assert len(api.requests) == 1


def test_pages_of_a_test_server_stay_on_it(api: Api) -> None:
    """A server on the loopback may page on exactly its own address."""
    client = Client("http://127.0.0.1:8080", ApiToken("t"), api, stage="local", clock=api.clock)
    api.answers({"elements": [], "nextPage": "http://127.0.0.1:8080/API/v3/x?offset=1"})
    api.answers({"elements": [], "nextPage": "http://127.0.0.1:80801/API/v3/x?offset=2"})
    with pytest.raises(PermanentError):
        list(client.pages(LIST_MAILING_LISTS, D, query={}))
    assert [request.url for request in api.requests][1:] == ["http://127.0.0.1:8080/API/v3/x?offset=1"]


def test_pages_that_lead_in_a_circle_end(api: Api) -> None:
    """A list whose pages name each other is an error, not an endless loop."""
    for token in "aba":
        api.answers({"elements": [], "nextPage": f"{BASE}/API/v3/x?skipToken={token}"})
    with pytest.raises(RetryableError) as caught:
        list(api.client.pages(LIST_MAILING_LISTS, D, query={}))
    assert "leads in a circle" in caught.value.what
    assert len(api.requests) == 3


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500])
def test_token_shows_nowhere(api: Api, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Neither logs nor errors nor representations give the token away, even where an answer does not echo it."""
    caplog.set_level(logging.DEBUG)
    for _ in range(3):
        api.refuses(status, "DCD_7", "no")
    shown = [repr(api.client), repr(ApiToken("tOkEn"))]
    try:
        api.client.call(WHO_AM_I)
    except QualtricsEtlError as error:
        shown += [str(error), repr(error), repr(error.__dict__)]
    shown += [repr(api.requests), caplog.text, *(repr(record.__dict__) for record in caplog.records)]
    assert [text for text in shown if "tOkEn" in text] == []
    assert caplog.records


def test_calls_are_logged_with_what_support_asks_for(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """A call leaves endpoint, status and request id in the log, as fields."""
    caplog.set_level(logging.INFO)
    api.answers({})
    api.client.call(WHO_AM_I)
    [record] = caplog.records
    fields = {name: record.__dict__[name] for name in ("endpoint", "status", "request_id", "notice")}
    assert record.message == "qualtrics_called"
    assert fields == {"endpoint": "who_am_i", "status": 200, "request_id": "r-1", "notice": ""}


@pytest.mark.parametrize(
    ("datacenter", "url"), [("fra1", "https://fra1.qualtrics.com"), ("brand.ca1", "https://brand.ca1.qualtrics.com")]
)
def test_datacenter_becomes_its_address(datacenter: str, url: str) -> None:
    """Plain and brand-prefixed data centers have an address."""
    assert base_url_of(datacenter) == url


@pytest.mark.parametrize("bad", ["", "FRA1", "fra1.qualtrics.com", "https://fra1", "fra1/x", "fra1@x", "fra1\n"])
def test_what_is_no_datacenter_is_refused(bad: str) -> None:
    """A wrong data center is found before anything is sent to it."""
    with pytest.raises(ConfigurationError) as caught:
        base_url_of(bad)
    assert "qualtrics.datacenter" in caught.value.remedy


@pytest.mark.parametrize("bad", ["", "fra1", "ftp://x", "https://", "https://u:p@x", "http://[::1", "https://x y"])
def test_base_url_that_cannot_be_called_is_refused(api: Api, bad: str) -> None:
    """An address that is none is found when the client is made."""
    with pytest.raises(ConfigurationError):
        Client(bad, ApiToken("t"), api, stage="dev", clock=api.clock)


def test_longest_call_counts_the_repeats() -> None:
    """A lease can be made to outlast the slowest call."""
    assert longest_call_seconds(CREATE_DISTRIBUTION) == pytest.approx(5 + 3 * 6)
    assert longest_call_seconds(WHO_AM_I) == pytest.approx(3 * (5 + 3 * 6) + 1.6)
    assert longest_call_seconds(START_CONTACT_IMPORT, 5_000_000) == pytest.approx(10 + 5 + 3 * 6)


@given(
    endpoint=st.sampled_from(sorted(ENDPOINTS)),
    status=st.integers(100, 599),
    body=st.binary(max_size=60) | st.sampled_from([b'{"meta":null}', b'{"result":[]}', b'{"meta":{"error":"x"}}']),
    retry_after=st.text(max_size=20),
)
def test_any_answer_gives_a_result_or_one_of_our_errors(
    new_api: Callable[[], Api], endpoint: str, status: int, body: bytes, retry_after: str
) -> None:
    """Whatever comes back, the step that called can react to it."""
    api, names = new_api(), ("directory_id", "mailing_list_id", "import_id", "distribution_id", "library_id")
    for _ in range(3):
        api.raw(status, body, retry_after=retry_after)
    with suppress(QualtricsEtlError):
        api.client.call(ENDPOINTS[endpoint], {**dict.fromkeys(names, "X_1"), "survey_id": "SV_1"}, body=b"{}")
        assert 200 <= status < 300
