"""The place on this machine: it is there once, it is found again, and nothing of it stays when it ends or is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from qualtrics_etl.channels.sftp import SftpClient, SftpConnection, SftpSecrets
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError
from qualtrics_etl.local.place import running_place, sftp_folder, start_place, stop_place
from qualtrics_etl.local.place_settings import LOCAL_SECRETS, read_place_settings

if TYPE_CHECKING:
    from shared_lib.tests.local.conftest import PlaceRepository

Wait = Callable[[Callable[[], object]], None]
Lives = Callable[[int], bool]


def listens(port: int) -> bool:
    """Tell whether somebody listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_all_three_answer_at_the_addresses_of_the_config(own: PlaceRepository) -> None:
    """What config/local.yml tells the functions leads to Qualtrics and SFTP server; AWS plays the config's region."""
    own.change(lambda config: config.update(aws_region="eu-central-1"))
    place = start_place(own.root)
    settings = read_place_settings(own.root)
    assert settings.sftp is not None

    token = {"X-API-TOKEN": LOCAL_SECRETS["qualtrics_api_token"]}
    directory = requests.get(
        f"{settings.base_url}/API/v3/directories/{settings.directory_id}/mailinglists", headers=token, timeout=10
    )
    assert directory.status_code == 200

    (sftp_folder(own.root) / "contacts.csv").write_text("email\n")
    to = SftpConnection(settings.sftp.host, settings.sftp.user, settings.sftp.host_key, settings.sftp.port)
    with SftpClient(to, SftpSecrets(password=LOCAL_SECRETS["sftp_password"]), stage="local") as client:
        assert [file.path for file in client.list_files("/", "*.csv")] == ["/contacts.csv"]

    queue = own.access(place).client("sqs").create_queue(QueueName="here")["QueueUrl"]
    assert queue == f"{place.emulator_url}/000000000000/here"
    assert place.region == "eu-central-1"


def test_started_again_it_is_the_same(own: PlaceRepository) -> None:
    """A second start changes nothing and finds what runs; so does another look."""
    place = start_place(own.root)
    assert start_place(own.root) == place == running_place(own.root)


def test_of_two_starts_at_once_one_wins(own: PlaceRepository) -> None:
    """Both come back with the one place that there is."""
    with ThreadPoolExecutor(4) as starts:
        places = list(starts.map(start_place, [own.root] * 4))
    assert set(places) == {running_place(own.root)}


def test_stopped_it_leaves_nothing_running(own: PlaceRepository, lives: Lives) -> None:
    """After a stop neither process nor function runs, nobody listens, and no temporary file is left."""
    place = start_place(own.root)
    function = own.call_function(place, {})["pid"]
    assert lives(function)
    assert stop_place(own.root)
    assert [lives(pid) for pid in (place.pid, function)] == [False, False]
    assert not listens(place.sftp_port)
    assert (running_place(own.root), own.temporary_folders()) == (None, [])
    assert sorted(path.name for path in own.folder.iterdir()) == ["emulator.log", "place.lock", "place.log", "sftp"]
    assert not stop_place(own.root)


def test_killed_it_takes_everything_with_it(own: PlaceRepository, lives: Lives, wait_until: Wait) -> None:
    """SIGKILL lets it clean nothing up: emulator and functions end by themselves, the next start removes the files."""
    place = start_place(own.root)
    function = own.call_function(place, {})["pid"]
    left = own.temporary_folders()
    os.kill(place.pid, signal.SIGKILL)
    wait_until(lambda: not lives(function))
    wait_until(lambda: running_place(own.root) is None)
    wait_until(lambda: not listens(int(place.emulator_url.rpartition(":")[2])))
    after = start_place(own.root)
    assert after.pid != place.pid
    assert not set(left) & set(own.temporary_folders())


def test_it_ends_when_its_emulator_does(own: PlaceRepository, wait_until: Wait) -> None:
    """A place without AWS is none: it says why it ended, and the next start makes a whole one."""
    place = start_place(own.root)
    (pid_file,) = own.folder.glob("emulator-*/ministack-*.pid")
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    wait_until(lambda: running_place(own.root) is None)
    wait_until(lambda: not listens(place.sftp_port))
    assert "The AWS emulator ended by itself (exit code -9)" in own.log()
    assert start_place(own.root).emulator_url != place.emulator_url


def test_id_that_is_somebody_elses_by_now_is_left_alone(own: PlaceRepository) -> None:
    """After a restart of the machine the old id may be another program's: it is neither the place nor killed."""
    place = start_place(own.root)
    addresses = own.folder / "place.json"
    kept = json.loads(addresses.read_text())
    stop_place(own.root)
    addresses.write_text(json.dumps(kept | {"pid": os.getpid()}))
    (own.folder / "place.lock").write_text(str(os.getpid()))
    assert running_place(own.root) is None
    assert not stop_place(own.root)
    assert start_place(own.root).pid not in (os.getpid(), place.pid)


@pytest.mark.parametrize("what", ["qualtrics.base_url", "sftp.port"])
def test_port_in_use_is_told_with_its_line(own: PlaceRepository, what: str) -> None:
    """The reader learns which line of config/local.yml to change; nothing is left running."""
    settings = read_place_settings(own.root)
    assert settings.sftp is not None
    port = settings.port if what == "qualtrics.base_url" else settings.sftp.port
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ConfigurationError) as caught:
        start_place(own.root)
    where = settings.where(*what.split("."))
    assert caught.value.what == f"{where}: port {port} can't be used (Address already in use)."
    assert caught.value.remedy == (
        f"End the program that has it, or change {what} there: any free port above 1023 will do."
    )
    assert start_place(own.root) == running_place(own.root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda config: config["qualtrics"].pop("base_url"),
            (
                "config/local.yml:5: the simulated Qualtrics of this machine has no address here."
                " Write below `qualtrics:` base_url: http://127.0.0.1:8138, or another port above 1023."
            ),
        ),
        (
            lambda config: config["qualtrics"].update(base_url="https://fra1.qualtrics.com"),
            (
                "config/local.yml:8: the simulated Qualtrics of this machine has no address here."
                " Write below `qualtrics:` base_url: http://127.0.0.1:8138, or another port above 1023."
            ),
        ),
        (
            lambda config: config["sftp"].update(host="sftp.client.example"),
            (
                "config/local.yml:10: the SFTP server of this machine has no address here."
                " Write below `sftp:` host: 127.0.0.1 and port: 8122, or another port above 1023."
            ),
        ),
        (
            lambda config: config["sftp"].pop("auth"),
            (
                "config/local.yml:9: the SFTP server of this machine knows no log-in by key."
                " Write below `sftp:` auth: password."
            ),
        ),
        (
            lambda config: config["sftp"].update(host_key="ssh-ed25519 AAAA"),
            (
                "config/local.yml:14: the SFTP server of this machine has another key. Write below `sftp:` host_key:"
                " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC6SLS6m1vxZpHxMffuo4tL4MxKdRHxuhJslcfd0/nsI"
            ),
        ),
    ],
)
def test_address_that_leads_elsewhere_is_refused(
    own: PlaceRepository, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """The functions would look for Qualtrics or a file somewhere else: the line is told, and nothing is started."""
    own.change(change)
    with pytest.raises(ConfigurationError) as caught:
        start_place(own.root)
    assert str(caught.value) == message
    assert running_place(own.root) is None


def test_missing_emulator_is_told_with_the_command(own: PlaceRepository) -> None:
    """Who calls qetl instead of make learns what make would have done."""
    (own.root / ".venv-emulator").unlink()
    with pytest.raises(ConfigurationError, match=r"is not installed: there is no .*python\. Run: make emulator$"):
        start_place(own.root)


def test_emulator_that_cannot_start_is_told_with_its_log(own: PlaceRepository) -> None:
    """An environment without the emulator in it, as after a broken installation."""
    (own.root / ".venv-emulator").unlink()
    (own.root / ".venv-emulator" / "bin").mkdir(parents=True)
    (own.root / ".venv-emulator" / "bin" / "python").symlink_to("/usr/bin/env")
    with pytest.raises(QualtricsEtlError, match=r"It ended with exit code 12\d\. Its log ends with:\n.*env"):
        start_place(own.root)
    assert running_place(own.root) is None


def test_changed_address_asks_for_a_restart(own: PlaceRepository) -> None:
    """A place that runs elsewhere than config/local.yml says would be looked for in vain."""
    place = start_place(own.root)
    own.change(lambda config: config["sftp"].update(user="acme"))
    with pytest.raises(ConfigurationError) as caught:
        start_place(own.root)
    assert str(caught.value) == (
        "config/local.yml:12: sftp.user has changed since the place on this machine was started: there it is client."
        " Stop it, which forgets what is deployed there, then start it again: make local-stop, then make local."
    )
    assert running_place(own.root) == place


def test_new_survey_is_made_known_to_what_runs(own: PlaceRepository) -> None:
    """A survey that config/local.yml names later is there at the next start, and nobody is forgotten for it."""
    place = start_place(own.root)
    token = {"X-API-TOKEN": LOCAL_SECRETS["qualtrics_api_token"]}
    lists = f"{place.base_url}/API/v3/directories/{place.directory_id}/mailinglists"
    assert requests.post(lists, headers=token, json={"name": "Kept"}, timeout=10).status_code == 200
    own.change(lambda config: config["services"]["schedule_distribution"].update(survey_id="SV_AnotherSurvey01"))
    start_place(own.root)
    survey = f"{place.base_url}/API/v3/surveys/SV_AnotherSurvey01"
    assert requests.get(survey, headers=token, timeout=10).status_code == 200
    assert len(requests.get(lists, headers=token, timeout=10).json()["result"]["elements"]) == 1


def test_nothing_of_ours_reaches_a_function(own: PlaceRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's variables, secrets and another AWS among them, are not in a function's environment."""
    with monkeypatch.context() as mine:
        for name in ("CANARY", "AWS_PROFILE", "AWS_SESSION_TOKEN", "PYTHONPATH"):
            mine.setenv(name, "canary")
        for name in ("AWS_ENDPOINT_URL", "HTTP_PROXY", "http_proxy"):
            mine.setenv(name, "http://127.0.0.1:9")
        place = start_place(own.root)
    variables = own.call_function(place, {})["variables"]
    assert "canary" not in " ".join(variables.values())
    assert variables["AWS_ENDPOINT_URL"] == place.emulator_url
    assert (variables["AWS_REGION"], Path(variables["HOME"]).parent) == (place.region, own.folder)


@pytest.mark.parametrize("allowed", [True, False])
def test_role_may_do_what_it_says_and_no_more(own: PlaceRepository, *, allowed: bool) -> None:
    """SendMessage covers a batch, as on AWS, TLS is counted as there, and without the grant the function is refused."""
    place = start_place(own.root)
    queues = own.access(place).client("sqs")
    queue = queues.create_queue(QueueName="next")["QueueUrl"]
    encrypted = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": "*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    queues.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(encrypted)})
    grant = {
        "Effect": "Allow",
        "Action": "sqs:SendMessage" if allowed else "sqs:ReceiveMessage",
        "Resource": f"arn:aws:sqs:{place.region}:000000000000:next",
    }
    said = own.call_function(place, {"queue": queue}, may=[grant])
    count = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
    assert count["Attributes"]["ApproximateNumberOfMessages"] == ("2" if allowed else "0")
    assert ("AccessDenied" in said.get("errorMessage", "")) is not allowed
