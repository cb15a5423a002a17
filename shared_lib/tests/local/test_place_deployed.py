"""The pieces of a deployed test: each says what is missing, whose it is, and what is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.place import Place, running_place, sftp_folder, start_place
from qualtrics_etl.local.place_settings import LOCAL_SECRETS
from qualtrics_etl.local.repository import open_repository
from qualtrics_etl.local.run import LocalRun
from qualtrics_etl.testing.deployed import await_services, end_state, left_of, own_place

if TYPE_CHECKING:
    from shared_lib.tests.local.conftest import PlaceRepository

Make = Callable[..., Path]
BUCKET = "acme-etl-local-data-000000000000"


def hand_over(own: PlaceRepository, place: Place) -> dict[str, str]:
    """Make what a deploy makes and the waiting looks at; return the dead-letter queue of each service."""
    parameters, queues, objects = own.access(place).clients("ssm", "sqs", "s3")
    objects.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": place.region})
    dead_letters: dict[str, str] = {}
    told = {"bucket": BUCKET}
    for service in open_repository(own.root).workflow.services:
        name = f"acme-etl-local-{service.replace('_', '-')}"
        url = queues.create_queue(QueueName=name)["QueueUrl"]
        dead_letters[service] = queues.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
        told[f"{service}/queue_urls"] = json.dumps({service: url})
        told[f"{service}/dead_letter_queue_url"] = dead_letters[service]
    for name, value in told.items():
        parameters.put_parameter(Name=f"/acme-etl/local/{name}", Value=value, Type="String")
    return dead_letters


def expected_of(own: PlaceRepository) -> dict[str, int]:
    """Return one piece of work a service."""
    return dict.fromkeys(open_repository(own.root).workflow.services, 1)


def test_waiting_ends_when_every_service_is_done(own: PlaceRepository, write_contacts: Make) -> None:
    """What each has done is read from the ledger in the data bucket, and told while it changes."""
    run, place = LocalRun(open_repository(own.root), own.root / "elsewhere"), start_place(own.root)
    hand_over(own, place)
    with run:
        run.drop(write_contacts())
        run.engine.run()
    bucket = S3Objects(BUCKET, own.access(place).client("s3"))
    for summary in run.objects.list("ledger/"):
        found = run.objects.get(summary.key)
        assert found is not None
        bucket.put(summary.key, found.body)
    told: list[str] = []
    await_services(own.root, place, expected_of(own), deadline_seconds=0, tell=told.append)
    assert told == [
        (
            "Done: fetch_sftp_file 1/1, parse_file 1/1, create_mailing_list 1/1, import_contacts 1/1,"
            " schedule_distribution 1/1, schedule_reminder 1/1"
        )
    ]


def test_waiting_in_vain_names_the_services(own: PlaceRepository, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the failure knows where the run stands; the commands that were tried have said why."""
    place = start_place(own.root)
    hand_over(own, place)
    with pytest.raises(pytest.fail.Exception, match=r"^Not done after 0 s: fetch_sftp_file, parse_file, .* 0/1$"):
        await_services(own.root, place, expected_of(own), deadline_seconds=0)
    assert "acme-etl-local" in capfd.readouterr().err


def test_dead_letter_ends_the_waiting_with_its_cause(own: PlaceRepository) -> None:
    """A message that waits for a person will not come by itself: the failure says whose it is and why."""
    place = start_place(own.root)
    queue = hand_over(own, place)["parse_file"]
    own.access(place).client("sqs").send_message(
        QueueUrl=queue,
        MessageBody="{}",
        MessageAttributes={"cause": {"DataType": "String", "StringValue": "The file has no header."}},
    )
    with pytest.raises(pytest.fail.Exception, match=r"\nparse_file, run unknown: The file has no header\.$"):
        await_services(own.root, place, expected_of(own), deadline_seconds=300)


def test_end_state_is_what_the_simulated_qualtrics_holds(own: PlaceRepository) -> None:
    """A list that is there, or is not, makes a difference."""
    place = start_place(own.root)
    before = end_state(place)
    token = {"X-API-TOKEN": LOCAL_SECRETS["qualtrics_api_token"]}
    lists = f"{place.base_url}/API/v3/directories/{place.directory_id}/mailinglists"
    requests.post(lists, headers=token, json={"name": "One"}, timeout=10)
    assert (before, end_state(place)) == (((), {}), (((),), {}))


def test_whatever_is_left_is_named(own: PlaceRepository) -> None:
    """Each thing of the stage stands in the list, and nothing of another stage or repository."""
    place = start_place(own.root)
    queues, parameters = own.access(place).clients("sqs", "ssm")
    queues.create_queue(QueueName="acme-etl-local-parse-file")
    queues.create_queue(QueueName="acme-etl-locally")
    parameters.put_parameter(Name="/acme-etl/local/bucket", Value="b", Type="String")
    parameters.put_parameter(Name="/acme-etl/dev/bucket", Value="b", Type="String")
    assert left_of(own.root, place) == ["queue acme-etl-local-parse-file", "parameter /acme-etl/local/bucket"]


def test_place_that_somebody_uses_is_not_taken_down(own: PlaceRepository, write_contacts: Make) -> None:
    """A developer's own deployment on this machine survives the test, which says what to do."""
    place = start_place(own.root)
    with (
        pytest.raises(ConfigurationError, match=r"runs already, .* make local-stop\.$"),
        own_place(own.root, Path("a")),
    ):
        pytest.fail("it was taken")
    assert running_place(own.root) == place


def test_files_that_would_be_taken_too_are_refused(own: PlaceRepository, write_contacts: Make) -> None:
    """Somebody's file on the SFTP server would be imported beside the test's own: it is named, and stays."""
    other = sftp_folder(own.root) / "inbox" / "theirs.csv"
    other.parent.mkdir(parents=True)
    other.touch()
    with (
        pytest.raises(ConfigurationError, match=r"^\.qetl/local/sftp/inbox/theirs\.csv would be taken too\."),
        own_place(own.root, write_contacts()),
    ):
        pytest.fail("it was started")
    assert other.exists()
    assert running_place(own.root) is None


def test_own_place_is_gone_behind_the_test(own: PlaceRepository, write_contacts: Make) -> None:
    """Whether the test passes or not: the place is stopped, and its file is no longer on the SFTP server."""
    file = write_contacts()

    def fail_in_it() -> None:
        with own_place(own.root, file):
            (sftp_folder(own.root) / file.name).touch()
            raise AssertionError("the test fails")

    with pytest.raises(AssertionError, match="the test fails"):
        fail_in_it()
    assert running_place(own.root) is None
    assert list(sftp_folder(own.root).iterdir()) == []
