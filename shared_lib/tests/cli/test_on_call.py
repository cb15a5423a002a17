"""The commands of an engineer on call, in a repository: `redrive`, `logs`, `tick`, `stages`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import moto
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from qualtrics_etl.aws.redrive import Outcome
from qualtrics_etl.cli.main import app
from qualtrics_etl.cli.redrive import _report
from qualtrics_etl.errors import ConfigurationError, InputError
from qualtrics_etl.formats.outcomes import Fate, RowOutcome, encode_outcomes
from qualtrics_etl.ledger import Entry, State, entry_key
from qualtrics_etl.messages import MESSAGE_LIFETIME, FileParsed, Message

MOTOS_ACCOUNT = "123456789012"
REGION = "eu-west-1"
BUCKET = f"acme-etl-dev-data-{MOTOS_ACCOUNT}"
COMMANDS = [
    ("redrive", "import_contacts", "--stage", "dev"),
    ("logs", "--stage", "dev"),
    ("tick", "--stage", "dev"),
    ("secret", "qualtrics_api_token", "--stage", "dev"),
    ("receipt", "acme-etl-0123456789ab", "--stage", "dev"),
]


def write_stage(root: Path, stage: str, **changes: object) -> None:
    """Write config/<stage>.yml: the local one, for another account."""
    config = yaml.safe_load((root / "config" / "local.yml").read_text(encoding="utf-8"))
    config |= {"stage": stage, "aws_account_id": MOTOS_ACCOUNT, **changes}
    (root / "config" / f"{stage}.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


@pytest.fixture
def repository(make_repository: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a stage dev, in which the commands run, and credentials as somebody has them."""
    root = make_repository()
    write_stage(root, "dev")
    monkeypatch.chdir(root)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    return root


@pytest.fixture
def aws() -> Iterator[None]:
    """An AWS in this process."""
    with moto.mock_aws():
        yield


@pytest.fixture
def bucket(aws: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The data bucket of stage dev, as a deploy makes it."""
    # An AWS in this process gives no Date; S3 always does.
    monkeypatch.setattr("qualtrics_etl.aws.objects._server_time", lambda answer: datetime.now(UTC))
    where = {"LocationConstraint": REGION}
    boto3.client("s3", region_name=REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    boto3.client("ssm", region_name=REGION).put_parameter(Name="/acme-etl/dev/bucket", Value=BUCKET, Type="String")
    return BUCKET


@pytest.fixture
def dead_letters(repository: Path, bucket: str) -> str:
    """A deployed import_contacts with three dead letters; returns the URL of its own queue."""
    sqs, ssm = boto3.client("sqs", region_name=REGION), boto3.client("ssm", region_name=REGION)
    own, dead = (sqs.create_queue(QueueName=f"acme-etl-dev-import-contacts{end}")["QueueUrl"] for end in ("", "-dlq"))
    prefix = "/acme-etl/dev/import_contacts"
    ssm.put_parameter(Name=f"{prefix}/queue_urls", Value=json.dumps({"import_contacts": own}), Type="String")
    ssm.put_parameter(Name=f"{prefix}/dead_letter_queue_url", Value=dead, Type="String")
    for batch, error in (("1", "PermanentError"), ("2", "PermanentError"), ("3", "OutcomeUnknownError")):
        message = Message(
            "acme-etl", "acme-etl-0123456789ab", "import_contacts", batch, datetime.now(UTC) + MESSAGE_LIFETIME
        )
        texts = {"cause": f"It was {error}.", "error": error, "remedy": "Mend it."}
        attributes = {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
        sqs.send_message(QueueUrl=dead, MessageBody=message.encode(), MessageAttributes=attributes)
    return own


@pytest.fixture
def unset(aws: None) -> str:
    """The parameter of stage dev's token, as the bootstrap makes it; returns its name."""
    name = "/acme-etl/dev/qualtrics_api_token"
    boto3.client("ssm", region_name=REGION).put_parameter(Name=name, Value="unset", Type="SecureString")
    return name


def qetl(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(arguments))


def count(url: str) -> str:
    """Count the messages of a queue."""
    sqs = boto3.client("sqs", region_name=REGION)
    names = ["ApproximateNumberOfMessages"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]]


def test_dry_run_shows_letters_by_cause_and_sends_none(dead_letters: str) -> None:
    """Run, batch, error, cause, remedy and age are shown, and every letter stays where it is."""
    result = qetl("redrive", "import_contacts", "--stage", "dev", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.startswith("acme-etl-dev-import-contacts-dlq: 3 letters\n\n  2 x PermanentError, the oldest ")
    assert (
        "    cause:  It was PermanentError.\n    remedy: Mend it.\n    run acme-etl-0123456789ab, batch 1, 2\n"
    ) in result.stdout
    assert (count(dead_letters), count(f"{dead_letters}-dlq")) == ("0", "3")


def test_redrive_sends_what_is_named(dead_letters: str) -> None:
    """Of one run or some batches alone: the others stay, and are not counted as left."""
    other = qetl("redrive", "import_contacts", "--stage", "dev", "--run", "acme-etl-ffffffffffff")
    assert other.stdout == (
        "acme-etl-dev-import-contacts-dlq: no letter of that run or batch, among those that can be seen.\n"
    )
    named = ("--run", "acme-etl-0123456789ab", "--batch", "2", "--batch", "3", "--outcome-unknown")
    result = qetl("redrive", "import_contacts", "--stage", "dev", *named)
    assert "2 sent to import_contacts.\n" in result.stdout
    assert (result.exit_code, count(dead_letters), count(f"{dead_letters}-dlq")) == (0, "2", "1")


def test_letter_of_waived_work_needs_no_look_into_qualtrics(dead_letters: str) -> None:
    """What was given up does nothing when it is sent back, whatever its error was: its letter is drained."""
    key = entry_key("acme-etl-0123456789ab", "import_contacts", "3")
    boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key=key, Body=Entry(State.WAIVED).encode())
    result = qetl("redrive", "import_contacts", "--stage", "dev")
    assert "3 sent to import_contacts.\n" in result.stdout
    assert (result.exit_code, count(f"{dead_letters}-dlq")) == (0, "0")


def test_entry_that_can_not_be_read_settles_nothing(dead_letters: str) -> None:
    """The letter of unknown outcome stays, and holds none of the others up."""
    key = entry_key("acme-etl-0123456789ab", "import_contacts", "3")
    boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    result = qetl("redrive", "import_contacts", "--stage", "dev")
    assert "2 sent to import_contacts.\n1 left: nobody knows what Qualtrics did" in result.stdout
    assert (result.exit_code, count(f"{dead_letters}-dlq")) == (1, "1")


def test_redrive_sends_what_may_be_sent(dead_letters: str) -> None:
    """What may be sent is sent; what is left is told, and the exit code says that something is left."""
    result = qetl("redrive", "import_contacts", "--stage", "dev")
    assert (result.exit_code, count(dead_letters), count(f"{dead_letters}-dlq")) == (1, "2", "1")
    assert "2 sent to import_contacts.\n1 left: nobody knows what Qualtrics did" in result.stdout
    result = qetl("redrive", "import_contacts", "--stage", "dev", "--outcome-unknown")
    assert (result.exit_code, count(dead_letters), count(f"{dead_letters}-dlq")) == (0, "3", "0")
    assert (
        qetl("redrive", "import_contacts", "--stage", "dev").stdout == "acme-etl-dev-import-contacts-dlq: no letters.\n"
    )


def test_letter_that_came_back_is_looked_at_by_make(capsys: pytest.CaptureFixture[str]) -> None:
    """What is left is said with the command that shows it, as it is on everybody's path."""
    _report(Outcome(sent=1, came_back=1), "parse_file", "dev")
    assert capsys.readouterr().out == (
        "1 sent to parse_file.\n"
        "1 left: they came back meanwhile, or are copies of what was sent. Look: make redrive STAGE=dev"
        " SERVICE=parse_file DRY_RUN=1\n"
    )


def test_logs_are_shown_a_line_an_event(repository: Path, aws: None) -> None:
    """Lines of all services, and a note of those that have no log yet."""
    client = boto3.client("logs", region_name=REGION)
    where = {"logGroupName": "/aws/lambda/acme-etl-dev-parse-file", "logStreamName": "one"}
    client.create_log_group(logGroupName=where["logGroupName"])
    client.create_log_stream(**where)
    line = json.dumps({"level": "INFO", "message": "step_done", "run": "acme-etl-0123456789ab", "batch": "all"})
    now = int(datetime.now(UTC).timestamp() * 1000)
    client.put_log_events(**where, logEvents=[{"timestamp": now - 60_000, "message": line}])
    result = qetl("logs", "--stage", "dev")
    assert result.exit_code == 0
    assert result.stdout.endswith(" parse_file INFO step_done run=acme-etl-0123456789ab batch=all\n")
    assert "note: import_contacts has no log group: it is not deployed yet." in result.stderr
    nothing = qetl("logs", "parse_file", "--stage", "dev", "--since", "30s")
    assert (nothing.stdout, nothing.stderr[:24]) == ("", "Nothing was logged since")


@pytest.mark.parametrize("command", COMMANDS[:3], ids=lambda command: command[0])
def test_stage_that_was_not_deployed_names_the_command(repository: Path, aws: None, command: tuple[str, ...]) -> None:
    """Before the first deploy each command says which one is missing."""
    result = qetl(*command)
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).endswith("Deploy it: `make deploy STAGE=dev`.")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_credentials_of_another_account_are_refused(repository: Path, aws: None, command: tuple[str, ...]) -> None:
    """Nothing is read, sent or asked for with credentials of an account that config does not name."""
    write_stage(repository, "dev", aws_account_id="111122223333")
    result = qetl(*command)
    assert isinstance(result.exception, ConfigurationError)
    assert "111122223333" in str(result.exception)
    assert MOTOS_ACCOUNT in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_address_of_an_emulator_is_refused_for_aws(
    repository: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A left-over AWS_ENDPOINT_URL would lead a stage's command to somewhere else."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = qetl(*command)
    assert str(result.exception) == (
        "AWS_ENDPOINT_URL is set, so stage dev would not go to AWS. Run `unset AWS_ENDPOINT_URL`, or take STAGE=local."
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_stage_on_this_machine_has_to_run(repository: Path, command: tuple[str, ...]) -> None:
    """Without the emulator the commands for stage local name the command that starts it."""
    name = "sftp_private_key" if command[0] == "secret" else command[1]
    arguments = [command[0], *([name] if not name.startswith("-") else []), "--stage", "local"]
    assert "make deploy STAGE=local" in str(qetl(*arguments).exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("tick", "parse_file", "--stage", "dev"),
            (
                "parse_file has no schedule: it works on what comes into its queue. Services with a schedule:"
                " fetch_sftp_file."
            ),
        ),
        (("redrive", "parse", "--stage", "dev"), "'parse' is no service of workflow.yml. Services: fetch_sftp_file,"),
        (("logs", "--stage", "dev", "--since", "soon"), "'soon' is no length of time. Write 90s, 15m, 2h or 7d."),
        (("logs", "--stage", "dev", "--run", 'x" y'), "'x\" y' is not the id of a run."),
    ],
)
def test_what_cannot_be_meant_is_refused(repository: Path, aws: None, arguments: tuple[str, ...], message: str) -> None:
    """A misspelt name or time says what there is."""
    result = qetl(*arguments)
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).startswith(message)


def test_secret_is_set_in_the_right_account(repository: Path, unset: str) -> None:
    """The value reaches the stage's parameter, encrypted."""
    result = CliRunner().invoke(app, ["secret", "qualtrics_api_token", "--stage", "dev"], input="canary\n")
    assert (result.exit_code, result.stdout) == (0, "/acme-etl/dev/qualtrics_api_token is set.\n")
    found = boto3.client("ssm", region_name=REGION).get_parameter(
        Name="/acme-etl/dev/qualtrics_api_token", WithDecryption=True
    )["Parameter"]
    assert (found["Type"], found["Value"]) == ("SecureString", "canary")


def test_empty_secret_is_refused(repository: Path, unset: str) -> None:
    """An empty value would wipe out the one that works."""
    result = CliRunner().invoke(app, ["secret", "qualtrics_api_token", "--stage", "dev"], input="\n")
    assert str(result.exception) == "The value is empty; nothing was changed. Type it, or give it by `< file`."


@pytest.mark.parametrize("value", ["unset", "unset\n"])
def test_word_for_no_secret_is_none(repository: Path, unset: str, value: str) -> None:
    """What the bootstrap writes where nothing is set yet is no value."""
    result = CliRunner().invoke(app, ["secret", "qualtrics_api_token", "--stage", "dev"], input=value)
    assert str(result.exception) == (
        "`unset` is what stands there until the secret is set; nothing was changed. Give the secret."
    )


def test_signing_secret_that_can_be_guessed_is_refused(repository: Path, aws: None) -> None:
    """It is refused here, and not with the client's first POST."""
    write_stage(repository, "dev", post={"replay_window_seconds": 300})
    name = "/acme-etl/dev/post_signing_secret"
    boto3.client("ssm", region_name=REGION).put_parameter(Name=name, Value="unset", Type="SecureString")
    result = CliRunner().invoke(app, ["secret", "post_signing_secret", "--stage", "dev"], input="wrong")
    assert "post_signing_secret holds 1 secrets; the shortest has 5 characters." in str(result.exception)


def test_secret_that_is_no_text_is_refused(repository: Path, unset: str) -> None:
    """A file of another encoding would be stored as something else."""
    value = "canary".encode("utf-16")
    result = CliRunner().invoke(app, ["secret", "qualtrics_api_token", "--stage", "dev"], input=value)
    assert str(result.exception) == (
        "The value is not UTF-8 text; nothing was changed. Save it as UTF-8, without a byte order mark."
    )


@pytest.mark.parametrize("command", [("status",), ("logs",), ("receipt", "acme-etl-0123456789ab")])
def test_stage_that_is_none_is_named_with_those_there_are(repository: Path, command: tuple[str, ...]) -> None:
    """A slip of the keyboard is told as such."""
    result = qetl(*command, "--stage", "lcoal")
    assert str(result.exception) == "There is no stage 'lcoal': config/ has no such file. Stages here: dev, local."


def test_stages_show_what_is_missing(repository: Path) -> None:
    """Each stage with account and region, and the names of what is empty."""
    write_stage(repository, "prod", aws_account_id=None)
    result = qetl("stages")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows == [
        ["stage", "account", "region"],
        ["local", "000000000000", "eu-west-1", "filled", "in"],
        ["dev", "123456789012", "eu-west-1", "filled", "in"],
        ["prod", "-", "eu-west-1", "still", "to", "be", "filled", "in:", "aws_account_id"],
    ]


def test_stages_tell_github_what_its_jobs_ask_for(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line a stage on AWS, and roles and region of those that are filled in, behind what the file has already."""
    write_stage(repository, "prod", aws_account_id=None)
    write_stage(repository, "staging", aws_region="us-gov-west-1")
    expected = (
        "dev=true\n"
        "dev_deploy_role=arn:aws:iam::123456789012:role/acme-etl-dev-deploy\n"
        "dev_plan_role=arn:aws:iam::123456789012:role/acme-etl-dev-plan\n"
        "dev_region=eu-west-1\n"
        "staging=true\n"
        "staging_deploy_role=arn:aws-us-gov:iam::123456789012:role/acme-etl-staging-deploy\n"
        "staging_plan_role=arn:aws-us-gov:iam::123456789012:role/acme-etl-staging-plan\n"
        "staging_region=us-gov-west-1\n"
        "prod=false\n"
    )
    assert qetl("stages", "--github").stdout == expected
    output = tmp_path / "output"
    output.write_text("before=1\n")
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    assert qetl("stages", "--github").stdout.startswith("stage")
    assert output.read_text() == f"before=1\n{expected}"


def test_stage_that_is_filled_in_wrongly_is_an_error(repository: Path) -> None:
    """A deploy by a pipeline must not begin with a file that can't be used."""
    write_stage(repository, "dev", aws_account_id="1234")
    assert "`aws_account_id` is '1234'" in str(qetl("stages", "--github").exception)


def secret(value: str) -> Result:
    """Set the secret of stage dev."""
    return CliRunner().invoke(app, ["secret", "qualtrics_api_token", "--stage", "dev"], input=value)


def test_secret_without_a_place_is_refused(repository: Path, aws: None) -> None:
    """A parameter made by hand would have no tags and be in no state: the bootstrap makes it, and then it is set."""
    result = secret("canary")
    assert isinstance(result.exception, ConfigurationError)
    assert "`make bootstrap STAGE=dev`" in result.exception.remedy
    ssm, name = boto3.client("ssm", region_name=REGION), "/acme-etl/dev/qualtrics_api_token"
    assert ssm.describe_parameters()["Parameters"] == []
    ssm.put_parameter(Name=name, Value="unset", Type="SecureString")
    assert secret("canary").stdout == f"{name} is set.\n"
    assert ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "canary"


def test_secret_that_is_too_long_is_refused(repository: Path, unset: str) -> None:
    """Counted as it is stored, in bytes: what a parameter can't hold is told with the limit, and never shown."""
    result = secret("ü" * 2049)
    assert isinstance(result.exception, ConfigurationError)
    assert result.exception.what.startswith("The value has 4098 bytes, and a parameter of SSM holds 4096")
    assert "üü" not in str(result.exception)
    assert secret("ü" * 2048).exit_code == 0


RUN = "acme-etl-0123456789ab"


@pytest.fixture
def run_of_three(repository: Path, bucket: str) -> str:
    """A run of three rows, of which two are done and one was put aside by the parser; returns its bucket."""
    s3 = boto3.client("s3", region_name=REGION)
    parsed = FileParsed(1, f"payloads/{RUN}/parse_file/batches", 3, 2, 1)
    rows = [RowOutcome(2, Fate.LOADED), RowOutcome(4, Fate.SKIPPED, "", "Has opted out.")]
    for key, body in {
        entry_key(RUN, "parse_file", "all"): Entry(State.DONE, fact=parsed).encode(),
        f"rejects/{RUN}/parse_file/00000.csv": b'line,field,reason,raw\r\n3,email,is blank,",North"\r\n',
        f"outcomes/{RUN}/import_contacts/00000.csv": encode_outcomes(rows),
    }.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    return bucket


def test_receipt_of_a_stage_has_a_line_a_row(repository: Path, run_of_three: str) -> None:
    """The receipt is written where it is asked for; the sum is shown, and exit code 0 says that it balances."""
    result = qetl("receipt", RUN, "--stage", "dev", "--out", "receipt.csv")
    assert (result.exit_code, result.output) == (0, "receipt.csv: 1 loaded + 1 skipped + 1 rejected.\n")
    assert (repository / "receipt.csv").read_text().splitlines() == [
        "line,outcome,field,reason",
        "2,loaded,,",
        "3,rejected,email,is blank",
        "4,skipped,,Has opted out.",
    ]


def test_receipt_that_does_not_balance_says_so(repository: Path, run_of_three: str) -> None:
    """What is gone from the store is missed, and the exit code is 1."""
    boto3.client("s3", region_name=REGION).delete_object(
        Bucket=run_of_three, Key=f"outcomes/{RUN}/import_contacts/00000.csv"
    )
    result = qetl("receipt", RUN, "--stage", "dev")
    assert (result.exit_code, result.output) == (
        1,
        f".qetl/receipts/{RUN}.csv: 1 rejected.\n2 of 3 rows have no line: their batches are gone from the store.\n",
    )


def test_receipt_that_has_no_place_leaves_nothing_behind(repository: Path, run_of_three: str) -> None:
    """A folder is no file: said with what to give, and no half of a receipt lies about."""
    (repository / "there").mkdir()
    result = qetl("receipt", RUN, "--stage", "dev", "--out", "there")
    assert str(result.exception) == (
        "The receipt can't be written: there is a folder. Name a file that can be: --out receipt.csv."
    )
    before = sorted(repository.iterdir())
    result = qetl("receipt", f"../../{RUN}", "--stage", "dev")
    assert str(result.exception).startswith(f"There is no run ../../{RUN}.")
    assert sorted(repository.iterdir()) == before
    qetl("receipt", "acme-etl-ffffffffffff", "--stage", "dev")
    assert list(repository.rglob("*.new")) == []


def test_receipt_names_a_service_that_imports(run_of_three: str) -> None:
    """A service that imports nothing has no receipt; those that do are named."""
    result = qetl("receipt", RUN, "--stage", "dev", "--service", "parse_file")
    assert str(result.exception) == "'parse_file' imports no rows. Name one with --service: import_contacts."


def test_receipt_of_an_unknown_run_is_refused(run_of_three: str) -> None:
    """A run that nobody knows is named, with where to look."""
    result = qetl("receipt", "acme-etl-ffffffffffff", "--stage", "dev")
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == (
        "The ledger holds no run acme-etl-ffffffffffff whose file was parsed. Look at its id, in the log or in a dead"
        " letter; a run is kept for 90 days."
    )
