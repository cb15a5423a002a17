"""The commands of an engineer on call about one run: `status`, `waive`, `erase`, on a stage with a run that waits."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import moto
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.cli.main import app
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.repository import open_repository
from qualtrics_etl.local.run import LocalRun
from qualtrics_etl.simulator import Fault
from qualtrics_etl.summary import summarize_runs
from qualtrics_etl.testing.runs import with_batches_of

ACCOUNT = "123456789012"
REGION = "eu-west-1"
AWS = AwsAccess(REGION)
BUCKET = f"acme-etl-dev-data-{ACCOUNT}"
WHY = ("--why", "sent anew as a file")


@dataclass
class Stage:
    """A deployed stage, and the run of six people in four batches that waits there for the second."""

    run: str

    def qetl(self, *arguments: str, answer: str = "") -> Result:
        """Run a command for the stage."""
        return CliRunner().invoke(app, [*arguments, "--stage", "dev"], input=answer)

    def waive(self, *arguments: str, answer: str = "") -> Result:
        """Waive work of import_contacts."""
        return self.qetl("waive", "import_contacts", "--run", self.run, *arguments, *WHY, answer=answer)

    def entry(self, batch: str) -> dict[str, Any]:
        """Return an entry of import_contacts."""
        key = f"ledger/{self.run}/import_contacts/{batch}"
        found: dict[str, Any] = json.loads(s3().get_object(Bucket=BUCKET, Key=key)["Body"].read())
        return found

    def waiting(self, service: str) -> int:
        """Count what waits in a service's queue."""
        sqs, names = AWS.client("sqs"), ["ApproximateNumberOfMessages"]
        url = sqs.get_queue_url(QueueName=queue_name(service))["QueueUrl"]
        return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]])

    def versions(self) -> list[tuple[str, bytes]]:
        """Return key and content of every version in the bucket; of a delete marker nothing."""
        found = []
        for page in s3().get_paginator("list_object_versions").paginate(Bucket=BUCKET):
            for each in page.get("Versions", []):
                answer = s3().get_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])
                found.append((each["Key"], answer["Body"].read()))
            found += [(each["Key"], b"") for each in page.get("DeleteMarkers", [])]
        return found


def s3() -> Any:
    """Return the client that the commands use too."""
    return AWS.client("s3")


def queue_name(service: str) -> str:
    """Return the name of a service's queue."""
    return f"acme-etl-dev-{service.replace('_', '-')}"


def write_stage(root: Path) -> None:
    """Write config/dev.yml."""
    config = yaml.safe_load((root / "config" / "local.yml").read_text(encoding="utf-8"))
    config |= {"stage": "dev", "aws_account_id": ACCOUNT}
    (root / "config" / "dev.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def run_here(root: Path, state: Path, file: Path) -> LocalRun:
    """Run a file on this machine, with a job that fails; return the place."""
    repository = with_batches_of(2, open_repository(root))
    place = LocalRun(repository, state, rate_limits=False)
    place.simulator.arm(Fault("failed_job", skip=1))
    with place:
        place.drop(file)
        place.engine.run()
    return place


def bring_to_aws(place: LocalRun, services: list[str]) -> None:
    """Make what a deploy makes, and put there what the run left: objects and dead letters."""
    sqs, ssm = AWS.clients("sqs", "ssm")
    s3().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for each in place.objects.list(""):
        found = place.objects.get(each.key)
        assert found is not None
        s3().put_object(Bucket=BUCKET, Key=each.key, Body=found.body)
    ssm.put_parameter(Name="/acme-etl/dev/bucket", Value=BUCKET, Type="String")
    for service in services:
        own, dead = (sqs.create_queue(QueueName=f"{queue_name(service)}{end}")["QueueUrl"] for end in ("", "-dlq"))
        handed = {"queue_urls": json.dumps({service: own}), "dead_letter_queue_url": dead}
        for name, value in handed.items():
            ssm.put_parameter(Name=f"/acme-etl/dev/{service}/{name}", Value=value, Type="String")
        for letter in place.queues.dead_letters_of(service).messages():
            attributes = {name: {"DataType": "String", "StringValue": text} for name, text in letter.attributes.items()}
            sqs.send_message(QueueUrl=dead, MessageBody=letter.body, MessageAttributes=attributes)


def _add_date(parsed: dict[str, Any], **_: object) -> None:
    """In-process moto leaves out the Date header, which S3 sends with every answer."""
    parsed["ResponseMetadata"]["HTTPHeaders"].setdefault("date", format_datetime(datetime.now(UTC), usegmt=True))


@pytest.fixture(scope="module")
def left_behind(
    tmp_path_factory: pytest.TempPathFactory, write_repository_at: Callable[[Path], Path]
) -> tuple[Path, LocalRun]:
    """A repository with a stage dev, and what a run left on this machine."""
    folder = tmp_path_factory.mktemp("on_call")
    root, file = write_repository_at(folder / "repository"), folder / "contacts.csv"
    write_stage(root)
    people = "".join(f"p{number}@client.example,P{number},North\n" for number in range(6))
    file.write_text(f"email,first_name,branch\nq@client.example,Q,North,too many\n{people}", encoding="utf-8")
    return root, run_here(root, folder / "state", file)


@pytest.fixture
def stage(left_behind: tuple[Path, LocalRun], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage dev with a run that waits for a dead letter, and credentials as somebody has them."""
    root, place = left_behind
    monkeypatch.chdir(root)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    workflow = open_repository(root).workflow
    with moto.mock_aws():
        s3().meta.events.register("after-call.s3", _add_date, unique_id="add-date")
        bring_to_aws(place, list(workflow.services))
        (run,) = summarize_runs(workflow, place.objects)
        yield Stage(run.run)


# --- status -----------------------------------------------------------------------------------------------------------


def test_runs_of_a_stage_are_listed(stage: Stage) -> None:
    """File, state and sums of the last runs, a line each; the exit code says that something stands still."""
    result = stage.qetl("status")
    assert result.exit_code == 1
    line, rows = result.stdout.splitlines()
    assert re.fullmatch(rf"....-..-.. ..:..  {stage.run}  dead-lettered  contacts\.csv", line)
    assert rows.lstrip() == ("7 rows in = 4 imported (4 new, 0 known) + 1 rejected + 0 skipped + 2 unaccounted for")


def test_run_says_what_it_waits_for(stage: Stage) -> None:
    """Each service's work, who waits for which batch, the dead letter with its cause, and the next commands."""
    result = stage.qetl("status", stage.run)
    assert result.exit_code == 1
    lines, why = result.stdout.splitlines(), "   # to go on without it"
    assert lines[0].startswith(f"Run {stage.run}, file contacts.csv: dead-lettered, last change ")
    assert [" ".join(line.split()) for line in lines[3:9]] == [
        "service done dead-lettered not come",
        "parse_file 1 0 0",
        "create_mailing_list 1 0 0",
        "import_contacts 3 1 0",
        "schedule_distribution 0 0 1",
        "schedule_reminder 0 0 1",
    ]
    assert lines[10] == "schedule_distribution waits for import_contacts batch 00001 (dead-lettered)"
    assert lines[12] == "import_contacts batch 00001: PermanentError"
    assert lines[-2:] == [
        "  make redrive STAGE=dev SERVICE=import_contacts   # when the cause is gone",
        f'  make waive STAGE=dev SERVICE=import_contacts RUN={stage.run} BATCH="00001" WHY="..."{why}',
    ]


def test_status_is_there_for_machines(stage: Stage) -> None:
    """One JSON object a run, with every batch that is not done by its name."""
    (line,) = stage.qetl("status", "--json").stdout.splitlines()
    found = json.loads(line)
    assert (found["run"], found["file"], found["state"]) == (stage.run, "contacts.csv", "dead-lettered")
    assert found["waits"] == [
        {
            "service": "schedule_distribution",
            "for": "import_contacts",
            "batches": ["00001"],
            "untold": False,
            "never": False,
        }
    ]
    assert found["services"]["import_contacts"] == {
        "done": 3,
        "waived": [],
        "under way": [],
        "queued": [],
        "dead-lettered": ["00001"],
        "not come": [],
    }
    assert [(each["service"], each["batch"], each["error"]) for each in found["dead_letters"]] == [
        ("import_contacts", "00001", "PermanentError")
    ]
    rows = found["rows"]["import_contacts"]
    assert (rows["read"], rows["loaded"], rows["rejected"], rows["unaccounted"]) == (7, 4, 1, 2)


def test_letter_without_a_failure_in_the_ledger_is_seen(stage: Stage) -> None:
    """Where the tries were used up, the ledger knows of no failure: the dead-letter queue tells."""
    entry = stage.entry("00001") | {"state": "intent", "cause": None}
    s3().put_object(Bucket=BUCKET, Key=f"ledger/{stage.run}/import_contacts/00001", Body=json.dumps(entry))
    found = json.loads(stage.qetl("status", stage.run, "--json").stdout)
    assert (found["state"], found["services"]["import_contacts"]["dead-lettered"]) == ("dead-lettered", ["00001"])


def test_run_that_only_a_letter_tells_of_is_listed(stage: Stage) -> None:
    """Work that failed before it wrote anything down is there by its dead letter, and is the first of the list."""
    run, key = "acme-etl-eeeeeeeeeeee", f"ledger/{stage.run}/parse_file/all"
    sent = json.loads(json.loads(s3().get_object(Bucket=BUCKET, Key=key)["Body"].read())["outputs"][0]["message"])
    url = AWS.client("sqs").get_queue_url(QueueName=f"{queue_name('parse_file')}-dlq")["QueueUrl"]
    AWS.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(sent | {"run": run, "service": "parse_file"}))
    result = stage.qetl("status")
    assert [line.split() for line in result.stdout.splitlines() if "acme-etl" in line and "contacts" not in line] == [
        ["not", "begun", run, "dead-lettered"]
    ]
    assert stage.qetl("status", run).stdout.startswith(f"Run {run}: dead-lettered, not begun\n")
    assert json.loads(stage.qetl("status", run, "--json").stdout)["last_change"] is None
    refused = stage.qetl("erase", run, "--yes")
    assert str(refused.exception).startswith(f"Run {run} is not finished, and may still need its data")


def test_run_that_can_not_be_read_hides_no_other(stage: Stage) -> None:
    """An entry that is none is said of its own run; the others are listed, and the exit code tells."""
    key = "ledger/acme-etl-aaaaaaaaaaaa/import_contacts/00000"
    s3().put_object(Bucket=BUCKET, Key=key, Body=b'{"state": "done"}')
    result = stage.qetl("status")
    assert result.exit_code == 1
    assert f"acme-etl-aaaaaaaaaaaa  unreadable\n{'':<18}The ledger object {key} can't be read" in result.stdout
    assert f"{stage.run}  dead-lettered  contacts.csv\n" in result.stdout
    alone = stage.qetl("status", "acme-etl-aaaaaaaaaaaa")
    assert (alone.exit_code, alone.stdout.splitlines()[1].startswith(f"  The ledger object {key}")) == (1, True)


# --- waive ------------------------------------------------------------------------------------------------------------


def test_waiver_asks_and_lets_the_run_go_on(stage: Stage) -> None:
    """What will not happen is said before the answer; then the entry is waived and the invitation is told."""
    result = stage.waive("--batch", "1", answer="y\n")
    assert result.exit_code == 0
    assert result.stdout == (
        f"import_contacts, run {stage.run}, batch 00001, `failed`\n"
        "  2 rows are given up. Qualtrics may have acted on their import, or still may: then they are in the mailing"
        " list, and are invited. Look there before the client sends them again.\n"
        "  schedule_distribution no longer waits for it.\n"
        "Waive it? [y/N]: y\n"
        f"import_contacts, run {stage.run}, batch 00001: waived.\n"
        "Dead letters of it, if there are any, are drained without effect by: make redrive STAGE=dev"
        " SERVICE=import_contacts\n"
    )
    assert (stage.entry("00001")["state"], stage.entry("00001")["skipped"]) == ("waived", "sent anew as a file")
    assert stage.waiting("schedule_distribution") == 1
    found = json.loads(stage.qetl("status", stage.run, "--json").stdout)
    assert (found["state"], found["rows"]["import_contacts"]["waived"]) == ("waiting", 2)


def test_no_changes_nothing(stage: Stage) -> None:
    """Who says no, or Ctrl-C, has changed nothing."""
    result = stage.waive("--batch", "1", answer="n\n")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (130, "Nothing was changed.")
    assert (stage.entry("00001")["state"], stage.waiting("schedule_distribution")) == ("failed", 0)


def test_waiver_again_tells_again(stage: Stage) -> None:
    """The same command twice does not ask, keeps the first reason, and finishes what broke off."""
    stage.waive("--batch", "1", "--yes")
    result = stage.waive("--batch", "1")
    assert result.exit_code == 0
    assert "  Was waived before (sent anew as a file); what waits for it is told again.\n" in result.stdout
    assert stage.waiting("schedule_distribution") == 2


def test_what_cannot_be_waived_stops_no_other(stage: Stage) -> None:
    """Of several batches those that are done are named, the rest is waived; the exit code says so."""
    result = stage.waive("--batch", "0", "--batch", "1", "--yes")
    assert result.exit_code == 1
    assert "batch 00000, `done`\n  Can't be waived. It is done: there is nothing to waive.\n" in result.stdout
    assert [stage.entry(batch)["state"] for batch in ("00000", "00001")] == ["done", "waived"]


def test_waived_service_of_a_run_says_what_ends(stage: Stage) -> None:
    """A run-level service that is given up ends its chain, and says what will not run."""
    result = stage.qetl("waive", "schedule_distribution", "--run", stage.run, "--yes", *WHY)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        f"schedule_distribution, run {stage.run}, not begun\n"
        "  The run ends here: schedule_distribution is not done, and nothing behind it (schedule_reminder).\n"
    )
    found = json.loads(stage.qetl("status", stage.run, "--json").stdout)
    assert found["services"]["schedule_distribution"]["waived"] == ["all"]


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("...", "A waiver needs a reason, in words, of at most 500 characters. "),
        ("", "A waiver needs a reason, in words, of at most 500 characters. "),
        ("x" * 501, "A waiver needs a reason, in words, of at most 500 characters. "),
        ("p1@client.example asked", "The reason looks like it names an e-mail address,"),
    ],
)
def test_reason_is_no_data_of_persons(stage: Stage, why: str, message: str) -> None:
    """A reason is given, and outlives the erasure: what looks like somebody's address is refused."""
    result = stage.qetl("waive", "import_contacts", "--run", stage.run, "--batch", "1", "--yes", "--why", why)
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).startswith(message)
    assert stage.entry("00001")["state"] == "failed"


def test_nobody_who_answers_is_no_answer(stage: Stage) -> None:
    """Where standard input is at its end, nothing is done, and it is said how to do it without a question."""
    for command in (
        ("waive", "import_contacts", "--run", stage.run, "--batch", "1", *WHY),
        ("erase", stage.run, "--even-unfinished"),
    ):
        result = stage.qetl(*command)
        assert str(result.exception) == ("Nobody can be asked here; nothing was changed. Give --yes, or YES=1 to make.")
    assert (stage.entry("00001")["state"], stage.waiting("schedule_distribution")) == ("failed", 0)
    assert [key for key, _ in stage.versions() if key.endswith("erased.json")] == []


# --- resend -----------------------------------------------------------------------------------------------------------


def purge(service: str) -> None:
    """Delete what stands in a service's dead-letter queue."""
    sqs = AWS.client("sqs")
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=f"{queue_name(service)}-dlq")["QueueUrl"])


def test_resending_asks_and_makes_the_deleted_letter_anew(stage: Stage) -> None:
    """A letter that somebody deleted is named by status; what is sent in its place is said before the answer."""
    purge("import_contacts")
    said = stage.qetl("status", stage.run).stdout.splitlines()
    assert "import_contacts batch 00001: PermanentError (no letter is seen)" in said
    command = f"  make resend STAGE=dev RUN={stage.run} SERVICE=import_contacts"
    assert f"{command}   # where its letter is gone, and was not just sent back" in said
    result = stage.qetl("resend", stage.run, "--service", "import_contacts", answer="y\n")
    assert result.exit_code == 0
    assert result.stdout == (
        f"Run {stage.run}\n"
        "  import_contacts batch 00001: `failed`, sent again\n"
        "What is still on its way comes twice then, and is done once all the same.\n"
        "Send it? [y/N]: y\n"
        f"1 of 1 sent. How the run goes on: make status STAGE=dev RUN={stage.run}\n"
    )
    assert stage.waiting("import_contacts") == 1


@pytest.mark.parametrize(("options", "answer", "code"), [((), "n\n", 130), (("--dry-run",), "", 0)])
def test_resending_that_is_not_wanted_sends_nothing(stage: Stage, options: Any, answer: str, code: int) -> None:
    """Who says no, or only wants to see it, has sent nothing."""
    purge("import_contacts")
    result = stage.qetl("resend", stage.run, *options, answer=answer)
    assert (result.exit_code, stage.waiting("import_contacts")) == (code, 0)
    assert "import_contacts batch 00001: `failed`, sent again" in result.stdout


def test_letter_that_is_there_is_left_to_redrive(stage: Stage) -> None:
    """What has a letter is not sent; the exit code says that it was left."""
    result, left = stage.qetl("resend", stage.run, "--yes"), "left, its dead letter is there: make redrive STAGE=..."
    assert (result.exit_code, stage.waiting("import_contacts")) == (1, 0)
    assert f"import_contacts batch 00001: {left} SERVICE=import_contacts\n" in result.stdout


def test_missing_mark_is_counted_as_sent(stage: Stage) -> None:
    """A batch that is done, and of which the invitation never heard, is told of: that is one thing sent, of one."""
    s3().delete_object(Bucket=BUCKET, Key=f"ledger/{stage.run}/schedule_distribution/arrived/00000/00000")
    result = stage.qetl("resend", stage.run, "--service", "schedule_distribution", "--yes")
    assert (result.exit_code, result.stdout) == (
        0,
        (
            f"Run {stage.run}\n"
            "  1 mark of batches for those that wait for all\n"
            "What is still on its way comes twice then, and is done once all the same.\n"
            f"1 of 1 sent. How the run goes on: make status STAGE=dev RUN={stage.run}\n"
        ),
    )


def test_finished_run_has_nothing_to_resend(stage: Stage) -> None:
    """A run of which nothing is open is said to be such."""
    for service in ("import_contacts", "schedule_distribution"):
        batch = ("--batch", "1") if service == "import_contacts" else ()
        stage.qetl("waive", service, "--run", stage.run, *batch, "--yes", *WHY)
    purge("import_contacts")
    result = stage.qetl("resend", stage.run)
    assert (result.exit_code, result.stdout) == (
        0,
        f"Run {stage.run}: nothing of it is open, so nothing is sent.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("acme-etl-ffffffffffff",), "There is no run acme-etl-ffffffffffff."),
        (("acme-etl-ffffffffffff", "--service", "no_service"), "'no_service' is no service of workflow.yml."),
    ],
)
def test_resending_what_is_not_there_is_refused(stage: Stage, arguments: tuple[str, ...], message: str) -> None:
    """A run or service that does not exist is named, with what there is."""
    result = stage.qetl("resend", *arguments)
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).startswith(message)


# --- erase ------------------------------------------------------------------------------------------------------------


def personal(stage: Stage) -> set[str]:
    """Return what lies in the bucket with data of persons in it, by its first folder."""
    return {key.split("/")[0] for key, content in stage.versions() if b"client.example" in content}


def test_unfinished_run_is_not_erased(stage: Stage) -> None:
    """What may still be needed is not erased without a word more."""
    before = stage.versions()
    result = stage.qetl("erase", stage.run, "--yes")
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).startswith(
        f"Run {stage.run} is not finished, and may still need its data (schedule_distribution waits for import_contacts"
        " batch 00001 (dead-lettered)); nothing was erased."
        f" Bring it to its end: make status STAGE=dev RUN={stage.run} says how."
    )
    assert stage.versions() == before


def test_erasure_leaves_no_version_of_personal_data(stage: Stage) -> None:
    """File, batches, requests, rejects: every version and delete marker goes; the ledger stays and says so."""
    key = next(key for key, _ in stage.versions() if key.startswith(f"payloads/{stage.run}/"))
    s3().put_object(Bucket=BUCKET, Key=key, Body=b"older: p9@client.example")
    s3().delete_object(Bucket=BUCKET, Key=key)
    assert personal(stage) == {"payloads", "rejects"}
    ledger = sorted(key for key, _ in stage.versions() if key.startswith("ledger/"))
    result = stage.qetl("erase", stage.run, "--even-unfinished", answer="y\n")
    assert (result.exit_code, personal(stage)) == (0, set())
    left = sorted(key for key, _ in stage.versions())
    assert {key.split("/")[0] for key in left} == {"files", "ledger", "pace"}
    record = f"ledger/{stage.run}/erased.json"  # a version for its beginning, and one for its end
    assert [key for key in left if key.startswith("ledger/")] == sorted([*ledger, record, record])
    (erased,) = json.loads(s3().get_object(Bucket=BUCKET, Key=record)["Body"].read())["erased"]
    assert erased["versions"].keys() == {"payloads", "rejects", "outcomes", "file"}
    assert f"Its personal data was erased on {erased['at']}." in stage.qetl("status", stage.run).stdout


def test_erasure_that_was_killed_is_told(stage: Stage) -> None:
    """Who looks at the run, or sends its work again, learns that data may be missing, until the erasure is ended."""
    s3().put_object(
        Bucket=BUCKET,
        Key=f"ledger/{stage.run}/erased.json",
        Body=b'{"erased": [{"at": "", "begun": "2026-11-22 09:10 UTC", "found": {"payloads": 3}}]}',
    )
    said = "An erasure of its personal data began on 2026-11-22 09:10 UTC and has not ended: work may miss its data."
    command = f"make erase STAGE=dev RUN={stage.run} EVEN_UNFINISHED=1"
    for result in (stage.qetl("status", stage.run), stage.qetl("resend", stage.run, "--dry-run")):
        assert f"{said} To end it: {command}\n" in result.stdout
    run = json.loads(stage.qetl("status", stage.run, "--json").stdout)
    assert (run["erased_at"], run["erasure_begun_at"]) == (None, "2026-11-22 09:10 UTC")
    stage.qetl("erase", stage.run, "--even-unfinished", "--yes")
    after = stage.qetl("status", stage.run).stdout
    assert (said in after, "Its personal data was erased on" in after) == (False, True)


def test_erasure_that_was_stopped_half_way_is_told(stage: Stage) -> None:
    """What is gone is said, and that there is more, until nothing is left."""
    s3().put_object(
        Bucket=BUCKET,
        Key=f"ledger/{stage.run}/erased.json",
        Body=b'{"erased": [{"at": "2026-11-22 09:10 UTC", "versions": {"payloads": 1000}, "left": 3}]}',
    )
    said = "An erasure of its personal data began on 2026-11-22 09:10 UTC and has not ended"
    for _ in range(2):
        assert said in stage.qetl("status", stage.run).stdout
        stage.qetl("erase", stage.run)  # is refused: the run is not finished
    stage.qetl("erase", stage.run, "--even-unfinished", "--yes")
    assert said not in stage.qetl("status", stage.run).stdout


def test_erasure_again_finds_nothing(stage: Stage) -> None:
    """The second time there is nothing to ask and nothing to record."""
    stage.qetl("erase", stage.run, "--even-unfinished", "--yes")
    before = stage.versions()
    result = stage.qetl("erase", stage.run, "--even-unfinished")
    assert (result.exit_code, result.stdout) == (0, f"Nothing is left of run {stage.run} to erase.\n")
    assert stage.versions() == before


def test_erasure_again_ends_unfinished_uploads(stage: Stage) -> None:
    """Where nothing else is left, what a killed worker had begun to store goes all the same."""
    stage.qetl("erase", stage.run, "--even-unfinished", "--yes")
    s3().create_multipart_upload(Bucket=BUCKET, Key=f"payloads/{stage.run}/large")
    result = stage.qetl("erase", stage.run, "--even-unfinished")
    assert (result.exit_code, result.stdout) == (0, f"Nothing is left of run {stage.run} to erase.\n")
    assert s3().list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_no_erases_nothing(stage: Stage) -> None:
    """Who says no has erased nothing."""
    before = stage.versions()
    result = stage.qetl("erase", stage.run, "--even-unfinished", answer="n\n")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (130, "Nothing was erased.")
    assert stage.versions() == before


def test_other_copies_of_the_file_are_erased_too(stage: Stage) -> None:
    """A copy that another tick made of the same file, deleted since, has an old version: it goes as well."""
    (content,) = [each for key, each in stage.versions() if key.startswith("payloads/fetch_sftp_file-")]
    copy = "payloads/fetch_sftp_file-20200101T000000Z/fetch_sftp_file/f0.0"
    s3().put_object(Bucket=BUCKET, Key=copy, Body=content)
    s3().delete_object(Bucket=BUCKET, Key=copy)
    other = "payloads/fetch_sftp_file-20200101T000000Z/fetch_sftp_file/f1.0"
    s3().put_object(Bucket=BUCKET, Key=other, Body=content[::-1])
    stage.qetl("erase", stage.run, "--even-unfinished", "--yes")
    assert [key for key, _ in stage.versions() if key.startswith("payloads/")] == [other]


def test_copy_of_another_run_is_left_to_it(stage: Stage) -> None:
    """Where the same file began a run of another chain, that run's copy stays, and it is said so."""
    (content,) = [each for key, each in stage.versions() if key.startswith("payloads/fetch_sftp_file-")]
    (taken,) = [each for key, each in stage.versions() if re.fullmatch(r"files/[0-9a-f]{64}", key)]
    entry = json.loads(taken)
    theirs = "payloads/fetch_sftp_file-20200101T000000Z/fetch_sftp_file/f0.0"
    s3().put_object(Bucket=BUCKET, Key=theirs, Body=content)
    entry["fact"][1]["key"] = theirs
    key = f"files/fetch_sftp_file/{entry['fact'][1]['sha256']}"
    s3().put_object(Bucket=BUCKET, Key=key, Body=json.dumps(entry))
    result = stage.qetl("erase", stage.run, "--even-unfinished", "--yes")
    assert f"The same file began run {stage.run}-fetch_sftp_file: its copy of the file is left." in result.stdout
    assert [key for key, _ in stage.versions() if key.startswith("payloads/")] == [theirs]


@pytest.mark.parametrize("command", [("status",), ("erase", "--yes")], ids=lambda command: command[0])
def test_run_that_nobody_knows_is_an_error(stage: Stage, command: tuple[str, ...]) -> None:
    """A mistyped run is neither finished nor erased."""
    result = stage.qetl(command[0], "acme-etl-ffffffffffff", *command[1:])
    assert isinstance(result.exception, ConfigurationError)
    assert result.exception.what == "There is no run acme-etl-ffffffffffff in stage dev."
