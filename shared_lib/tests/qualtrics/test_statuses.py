"""Error texts: Qualtrics' own words, short, and without anybody's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import ContentRefusedError, PermanentError
from qualtrics_etl.qualtrics.registry import CREATE_MAILING_LIST, START_CONTACT_IMPORT
from qualtrics_etl.qualtrics.statuses import presentable

if TYPE_CHECKING:
    from conftest import Api

IDS = {"directory_id": "POOL_1", "mailing_list_id": "CG_1"}


def test_refused_import_does_not_name_the_person(api: Api) -> None:
    """What Qualtrics echoes of a contact is taken out; what explains the refusal stays."""
    person = {"email": "anna@example.com", "lastName": "Müller-Lang", "extRef": "C77", "embeddedData": {"age": 41}}
    api.refuses(400, "QVAL_3", "Invalid lastName 'Müller Lang' (C77, anna@example.com, 41) at position 3")
    with pytest.raises(PermanentError) as caught:
        api.client.call(START_CONTACT_IMPORT, IDS, body=orjson.dumps({"contacts": [person]}))
    assert caught.value.what == (
        "start_contact_import: status 400 QVAL_3 "
        "Invalid lastName '<removed> <removed>' (<removed>, <removed>, <removed>) at position 3"
    )


@pytest.mark.parametrize(
    ("status", "code", "message", "is_about_content"),
    [
        (400, "QVAL_3", "Invalid language.", True),
        (413, "QVAL_1", "Too large.", True),
        (422, "", "Invalid field.", True),
        (400, "", "", False),
        (400, "GP_0", "Invalid mailingListId parameter. Mailing list not found", False),
        (400, "X_1", "No such directory.", False),
        (400, "X_1", "POOL_1 is not yours.", False),
        (400, "X_1", "Unknown batchId", False),
        (403, "AuthZ_2.0", "Invalid language.", False),
        (404, "", "Invalid language.", False),
        (409, "X_1", "Invalid language.", False),
    ],
)
def test_refusal_of_content_is_told_from_all_others(
    api: Api, status: int, code: str, message: str, is_about_content: bool
) -> None:
    """Only where Qualtrics says in words that it refuses what a request holds may a part of it pass."""
    api.refuses(status, code, message)
    with pytest.raises(PermanentError) as caught:
        api.client.call(START_CONTACT_IMPORT, IDS, body=b"{}")
    assert (type(caught.value) is ContentRefusedError) == is_about_content


def test_refusal_elsewhere_keeps_the_ids_it_names(api: Api) -> None:
    """A body without persons is not searched: its ids are what the reader needs."""
    api.refuses(400, "RP_9", "Unexpected json key provided: nmae")
    with pytest.raises(PermanentError) as caught:
        api.client.call(CREATE_MAILING_LIST, IDS, body=b'{"nmae":"nmae"}')
    assert caught.value.what == "create_mailing_list: status 400 RP_9 Unexpected json key provided: nmae"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("bad address <anna.b+c@example.co.uk>, sorry", "bad address <<removed>>, sorry"),
        ("call +49 (30) 1234-567 now", "call <removed> now"),
        ("survey SV_012345678901234 not found", "survey SV_012345678901234 not found"),
        ("line one\nline\x00two\x1b[31m", "line one line two [31m"),
        ("x" * 500, "x" * 299 + "…"),
    ],
)
def test_message_is_cleaned_and_cut(message: str, shown: str) -> None:
    """Addresses and telephone numbers go, ids stay, and no control character reaches a log."""
    assert presentable(message) == shown


@given(name=st.text("abcdeäßéжДİ漢_", min_size=1), quote=st.sampled_from(["'", '"', "", "[", "="]))
def test_sent_word_is_removed_wherever_it_stands(name: str, quote: str) -> None:
    """A name of any script is found, in whatever case and quotes a refusal repeats it."""
    body = orjson.dumps({"contacts": [{"firstName": f"x {name}"}]})
    shown = presentable(f"Invalid value {quote}{name.upper()}{quote}; sorry", body)
    assert shown == f"Invalid value {quote}<removed>{quote}; sorry"
