"""workflow.yml: what can't work is refused with its line and the remedy; what passes tells who follows whom."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from qualtrics_etl.catalogue import Level
from qualtrics_etl.errors import WorkflowError
from qualtrics_etl.workflow import Workflow, check_workflow, read_workflow
from qualtrics_etl.yaml_lines import read_yaml

DEFAULT_CHAIN = [
    "fetch_sftp_file",
    "parse_file",
    "create_mailing_list",
    "import_contacts",
    "schedule_distribution",
    "schedule_reminder",
]


def make(folder: Path, *chains: list[str], **changes: dict[str, object] | None) -> Workflow:
    """Check a workflow of these chains, a service each, with some services' keys changed (None: left out)."""
    names = dict.fromkeys(name for chain in chains for name in chain)
    services: dict[str, dict[str, object]] = {
        name: {
            "kind": name,
            "timeout_seconds": 60,
            "memory_mb": 256,
            "concurrency": 2,
            "batch_size": 1,
            "max_receive_count": 5,
        }
        for name in names
    }
    for chain in chains:
        services[chain[0]]["schedule"] = "rate(15 minutes)"
    for name, change in changes.items():
        if change is None:
            del services[name]
        else:
            services.setdefault(name, {}).update(change)
    content = {"name": "acme-etl", "chains": {f"c{n}": chain for n, chain in enumerate(chains)}, "services": services}
    path = folder / "workflow.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return check_workflow(read_yaml(path))


def error_of(folder: Path, *chains: list[str], **changes: dict[str, object] | None) -> str:
    """Return the text of the error that checking such a workflow raises."""
    with pytest.raises(WorkflowError) as caught:
        make(folder, *chains, **changes)
    return str(caught.value)


def test_default_flow_passes_and_tells_who_follows(tmp_path: Path) -> None:
    """The example's chain is fine; its one batch-level service is fanned in by the invitation."""
    workflow = make(tmp_path, DEFAULT_CHAIN)
    assert [workflow.next_of(name) for name in DEFAULT_CHAIN] == [*[(name,) for name in DEFAULT_CHAIN[1:]], ()]
    assert workflow.starts() == ("fetch_sftp_file",)
    assert workflow.level_of("import_contacts") is Level.BATCH
    assert workflow.fan_ins_behind("import_contacts") == ("schedule_distribution",)


def test_service_in_two_chains_makes_a_branch(tmp_path: Path) -> None:
    """Chains that begin alike and part later send the message both ways."""
    other = [*DEFAULT_CHAIN[:4], "second_invitation"]
    changed: dict[str, object] = {"kind": "schedule_distribution"}
    workflow = make(tmp_path, DEFAULT_CHAIN, other, second_invitation=changed)
    assert workflow.next_of("import_contacts") == ("schedule_distribution", "second_invitation")
    assert workflow.fan_ins_behind("import_contacts") == ("schedule_distribution", "second_invitation")


def test_work_that_ends_somewhere_is_missed_by_what_is_behind(tmp_path: Path) -> None:
    """A batch is missed up to the service that waits for all of them, a run by everything behind."""
    chain = [*DEFAULT_CHAIN[:4], "import_again", *DEFAULT_CHAIN[4:]]
    again: dict[str, object] = {"kind": "import_contacts"}
    workflow = make(tmp_path, chain, import_again=again)
    assert workflow.behind("import_contacts") == ("import_again",)
    assert workflow.behind("import_again") == ()
    assert workflow.behind("create_mailing_list") == tuple(chain[3:])
    assert workflow.behind("schedule_distribution") == ("schedule_reminder",)
    assert workflow.before("schedule_distribution") == ("import_again",)
    assert workflow.before("fetch_sftp_file") == ()


def test_unknown_kind_is_named_with_line_and_the_known_ones(tmp_path: Path) -> None:
    """A misspelt kind would otherwise be found by Lambda."""
    assert error_of(tmp_path, DEFAULT_CHAIN, parse_file={"kind": "parse_files"}) == (
        "workflow.yml:20: service `parse_file` is of kind `parse_files`, which this library does not have. Known kinds:"
        " create_mailing_list, fetch_sftp_file, import_contacts, parse_file, receive_post, schedule_distribution,"
        " schedule_reminder."
    )


def test_missing_next_is_told(tmp_path: Path) -> None:
    """A chain that names a service which is not there."""
    assert error_of(tmp_path, DEFAULT_CHAIN, schedule_reminder=None) == (
        "workflow.yml:9: chain `c0` names `schedule_reminder`, which is not among `services`."
        " Add `schedule_reminder:` to `services`, or take it out of the chain."
    )


def test_service_in_no_chain_is_told(tmp_path: Path) -> None:
    """A service that nothing reaches would be deployed and never run."""
    full = {"kind": "parse_file", "timeout_seconds": 1, "memory_mb": 128, "concurrency": 2, "batch_size": 1}
    text = error_of(tmp_path, DEFAULT_CHAIN, lonely={**full, "max_receive_count": 5})
    assert text == (
        "workflow.yml:54: service `lonely` stands in no chain, so nothing ever reaches it. Put it into a chain, or"
        " delete it and its folder."
    )


def test_circle_is_drawn(tmp_path: Path) -> None:
    """A message would go round for ever."""
    chain = ["fetch_sftp_file", "parse_file", "create_mailing_list", "parse_file"]
    assert error_of(tmp_path, chain) == (
        "workflow.yml:2: the chains go round in a circle: parse_file -> create_mailing_list -> parse_file."
        " A service can't follow itself; give the second one a name of its own."
    )


def test_neighbours_whose_messages_do_not_fit_are_told(tmp_path: Path) -> None:
    """A step that needs what nobody before it gives fails here, not in a queue."""
    chain = ["fetch_sftp_file", "parse_file", "import_contacts"]
    assert error_of(tmp_path, chain) == (
        "workflow.yml:6: `import_contacts` needs MailingListCreated, and no service before it in chain `c0` gives that."
        " Put a service of kind create_mailing_list before it."
    )


def test_chain_that_nothing_starts_is_told(tmp_path: Path) -> None:
    """The first service must be one that takes input in."""
    text = error_of(tmp_path, ["create_mailing_list"])
    assert text == (
        "workflow.yml:4: chain `c0` begins with `create_mailing_list`, which nothing starts."
        " Begin it with a service of one of these kinds: fetch_sftp_file, receive_post."
    )


def test_chain_without_a_schedule_is_told(tmp_path: Path) -> None:
    """Deployed, a chain that begins on a tick would wait for one for ever."""
    assert error_of(tmp_path, DEFAULT_CHAIN, fetch_sftp_file={"schedule": None}) == (
        "workflow.yml:11: `fetch_sftp_file` begins chain `c0` and has no `schedule`, so nothing ever starts it."
        " Write `schedule: cron(H/15 * * * ? *)`."
    )


def test_two_ways_to_one_service_in_a_run_are_told(tmp_path: Path) -> None:
    """The second message would look like a copy of the first and be dropped."""
    one = ["fetch_sftp_file", "parse_file", "create_mailing_list", "schedule_distribution"]
    other = ["fetch_sftp_file", "parse_file", "second_list", "schedule_distribution"]
    changed: dict[str, object] = {"kind": "create_mailing_list"}
    assert error_of(tmp_path, one, other, second_list=changed) == (
        "workflow.yml:7: `schedule_distribution` follows `create_mailing_list` and `second_list` in the same run."
        " Give the second one a service of its own, with another name."
    )


def test_schedule_inside_a_chain_is_told(tmp_path: Path) -> None:
    """A schedule would call a step that waits for a message."""
    text = error_of(tmp_path, DEFAULT_CHAIN, parse_file={"schedule": "rate(1 hour)"})
    assert "`parse_file` has a `schedule`, but does not begin a chain." in text


def test_serial_service_takes_one_message_at_a_time(tmp_path: Path) -> None:
    """Several messages in one invocation would not be serial."""
    text = error_of(tmp_path, DEFAULT_CHAIN, import_contacts={"concurrency": "serial", "batch_size": 2})
    assert text.startswith("workflow.yml:38: service `import_contacts` is serial and takes 2 messages at once.")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("timeout_seconds", 301, "Give 1 to 300 seconds; longer work goes on in another invocation."),
        ("concurrency", 1, "Give `serial`, `unbounded` or a number from 2 to 1000."),
        ("batch_size", 11, "Give 1 to 10."),
        ("max_receive_count", 1, "Give 2 to 1000; 5 is usual."),
        ("memory_mb", 64, "Give 128 to 10240."),
        ("schedule", "hourly", "Give `rate(15 minutes)`, `cron(H 6 * * ? *)` or `cron(H/15 * * * ? *)`."),
        ("schedule", "cron(0 H * * ? *)", "Give `rate(15 minutes)`, `cron(H 6 * * ? *)` or `cron(H/15 * * * ? *)`."),
        ("schedule", "cron(H/61 6 * * ? *)", "Give `rate(15 minutes)`, `cron(H 6 * * ? *)` or `cron(H/15 * * * ? *)`."),
        ("color", "red", "See the comments in workflow.yml, or a freshly generated repository."),
    ],
)
def test_value_out_of_bounds_says_what_to_give(tmp_path: Path, key: str, value: object, expected: str) -> None:
    """Each deployment key is checked, and the remedy says what may stand there."""
    text = error_of(tmp_path, DEFAULT_CHAIN, fetch_sftp_file={key: value})
    assert f"`services.fetch_sftp_file.{key}" in text
    assert expected in text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("rate(15 minutes)", "rate(15 minutes)"),
        ("cron(0 6 * * ? *)", "cron(0 6 * * ? *)"),
        ("cron(H 6 ? * THU *)", "cron(55 6 ? * THU *)"),
        ("cron(H/15 * * * ? *)", "cron(10/15 * * * ? *)"),
    ],
)
def test_minute_of_a_schedule_is_the_clients_own(tmp_path: Path, written: str, expected: str) -> None:
    """Only the H of a minute is replaced, by a number that the names of workflow and service make."""
    workflow = make(tmp_path, DEFAULT_CHAIN, fetch_sftp_file={"schedule": written})
    assert (workflow.schedule_of("fetch_sftp_file"), workflow.schedule_of("parse_file")) == (expected, None)


@pytest.mark.parametrize("text", ["", "[]", "name: acme-etl", "chains: {}\nservices: {}\nname: x", "services: 7"])
def test_other_shapes_are_refused(tmp_path: Path, text: str) -> None:
    """Whatever is in the file, the answer is an error of ours."""
    (tmp_path / "workflow.yml").write_text(text)
    with pytest.raises(WorkflowError):
        read_workflow(tmp_path)


@pytest.mark.parametrize("name", ["aws-etl", "awsome", "ssm", "ssmith-etl"])
def test_name_that_aws_keeps_for_itself_is_refused(tmp_path: Path, name: str) -> None:
    """No parameter may begin so, and the first of them would be made in the middle of a deploy."""
    make(tmp_path, DEFAULT_CHAIN)
    file = tmp_path / "workflow.yml"
    file.write_text(file.read_text().replace("name: acme-etl", f"name: {name}"))
    with pytest.raises(WorkflowError, match=f"`name` is '{name}': .*begin with aws or ssm"):
        read_workflow(tmp_path)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Mending one and meeting the next is nobody's evening."""
    text = error_of(tmp_path, DEFAULT_CHAIN, parse_file={"kind": "x"}, import_contacts={"kind": "y"})
    assert [line.split(": ")[1] for line in text.splitlines()] == [
        "service `parse_file` is of kind `x`, which this library does not have. Known kinds",
        "service `import_contacts` is of kind `y`, which this library does not have. Known kinds",
    ]


def test_queue_of_a_serial_service_hardly_counts(tmp_path: Path) -> None:
    """There every deferral is a receive: the step counts its tries itself, and the queue must not give up first."""
    workflow = make(tmp_path, DEFAULT_CHAIN, import_contacts={"concurrency": "serial"})
    counts = {name: workflow.services[name].queue_receive_count for name in ("parse_file", "import_contacts")}
    assert counts == {"parse_file": 5, "import_contacts": 1000}
