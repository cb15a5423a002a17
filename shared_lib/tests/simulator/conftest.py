"""A served simulator whose clock stands still, and a client that speaks plain HTTP to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from qualtrics_etl.simulator import Seed, Simulator
from qualtrics_etl.simulator.clock import parse_instant

NOW = parse_instant("2026-11-22T09:00:00Z")
DIRECTORY = "POOL_ExampleDirector"
SURVEY = "SV_ExampleSurvey01"
LIBRARY = "UR_ExampleLibrary1"


@dataclass
class Api:
    """Calls of the example brand; each answers the response as it came."""

    simulator: Simulator
    base_url: str
    session: requests.Session

    def call(self, method: str, path: str, json: object = None, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.base_url}/API/v3{path}", json=json, timeout=10, **options)

    def inspect(self, method: str, path: str, json: object = None) -> Any:
        response = self.session.request(method, f"{self.base_url}/_sim/{path}", json=json, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def result(self, method: str, path: str, json: object = None, **options: Any) -> Any:
        response = self.call(method, path, json, **options)
        assert response.ok, response.text
        return response.json()["result"]

    def refusal(self, method: str, path: str, json: object = None, **options: Any) -> tuple[int, str | None, str]:
        response = self.call(method, path, json, **options)
        error = response.json()["meta"]["error"]
        return response.status_code, error.get("errorCode"), error["errorMessage"]

    def new_list(self, name: str = "Customers") -> str:
        created: str = self.result("POST", f"/directories/{DIRECTORY}/mailinglists", {"name": name})["id"]
        return f"/directories/{DIRECTORY}/mailinglists/{created}"

    def list_with(self, *contacts: Mapping[str, object]) -> str:
        mailing_list = self.new_list()
        for contact in contacts:
            self.result("POST", f"{mailing_list}/contacts", contact)
        return mailing_list

    def start_import(self, mailing_list: str, *contacts: Mapping[str, object], **beside: object) -> Any:
        return self.result("POST", f"{mailing_list}/transactioncontacts", {"contacts": contacts, **beside})

    def invitation(self, mailing_list: str, **changes: object) -> dict[str, object]:
        return {
            "message": {"libraryId": LIBRARY, "messageId": "MS_ExampleInvite01"},
            "recipients": {"mailingListId": mailing_list.rpartition("/")[2]},
            "header": {
                "fromEmail": "survey@example.com",
                "fromName": "Example",
                "replyToEmail": "help@example.com",
                "subject": "Your opinion",
            },
            "surveyLink": {"surveyId": SURVEY, "expirationDate": "2027-01-01T00:00:00Z", "type": "Individual"},
            "sendDate": "2026-11-22T10:00:00Z",
            **changes,
        }

    def invite(self, mailing_list: str, **changes: object) -> str:
        created: str = self.result("POST", "/distributions", self.invitation(mailing_list, **changes))["id"]
        return created

    def follow_up(self, kind: str, parent: str, send_date: str) -> str:
        body = self.invitation("", sendDate=send_date)
        del body["recipients"], body["surveyLink"]
        created: str = self.result("POST", f"/distributions/{parent}/{kind}", body)["distributionId"]
        return created

    def mails(self) -> dict[str, list[str]]:
        """Return the kinds of mails that each address got."""
        sent = self.inspect("GET", "mailings")["sent"]
        return {person["email"]: [mail["kind"] for mail in person["by"]] for person in sent}


@pytest.fixture
def simulator() -> Simulator:
    """The example brand, without rate limits, at nine o'clock."""
    return Simulator(Seed.example(), rate_limits=False, time_source=lambda: NOW)


@pytest.fixture
def api(simulator: Simulator) -> Iterator[Api]:
    """The simulator, served."""
    with simulator.serve() as base_url, requests.Session() as session:
        session.headers["X-API-TOKEN"] = simulator.state.tokens[0]
        yield Api(simulator, base_url, session)
