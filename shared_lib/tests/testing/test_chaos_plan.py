"""The plan of faults is a function of its seed: the same seed means the same faults, and there are bounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from qualtrics_etl.simulator import SCENARIOS
from qualtrics_etl.testing.chaos_plan import (
    MISHAPS,
    MOST_HARD_CALLS,
    AwsCall,
    ChaosPlan,
    stable_target,
)

CALLS = [
    AwsCall(service, "s3", operation, f"ledger/acme-0123456789ab/{service}/{batch:05}", number)
    for service in ("parse_file", "import_contacts")
    for operation in ("GetObject", "PutObject")
    for batch in range(100)
    for number in (1, 2, 7)
]
SENDS = [AwsCall("import_contacts", "sqs", "SendMessageBatch", "acme-import-contacts", n) for n in range(1, 401)]


def test_same_seed_same_faults() -> None:
    """Two plans of a seed say the same of every call and of Qualtrics; asked in another order, too."""
    one, two = ChaosPlan(3), ChaosPlan(3)
    backwards = [two.mishap(call) for call in reversed(CALLS)]
    assert [one.mishap(call) for call in CALLS] == list(reversed(backwards))
    assert [one.is_sent_twice(call) for call in SENDS] == [two.is_sent_twice(call) for call in SENDS]
    assert one.qualtrics_faults() == two.qualtrics_faults()


def test_other_seed_other_faults() -> None:
    """Another seed is another plan."""
    one, two = ChaosPlan(3), ChaosPlan(4)
    assert [one.mishap(call) for call in CALLS] != [two.mishap(call) for call in CALLS]
    assert [one.is_sent_twice(call) for call in SENDS] != [two.is_sent_twice(call) for call in SENDS]
    assert one.qualtrics_faults() != two.qualtrics_faults()


def test_share_of_calls_that_are_hit_is_what_was_asked_for() -> None:
    """About three in ten calls are disturbed, by every kind that there is; with no chance, none is."""
    hit = [mishap for call in CALLS if (mishap := ChaosPlan(5).mishap(call)) is not None]
    assert 0.25 < len(hit) / len(CALLS) < 0.35
    assert {mishap.kind for mishap in hit} == {mishap.kind for mishap in MISHAPS}
    assert [call for call in CALLS if ChaosPlan(5, chance=0).mishap(call)] == []


def test_what_boto3_does_not_mend_has_a_bound() -> None:
    """A call that is made again and again is killed or refused for good only so often."""
    often = [AwsCall("parse_file", "s3", "PutObject", "key", number) for number in range(1, 2_000)]
    hard = [call.number for call in often if (mishap := ChaosPlan(6, hard=50).mishap(call)) and mishap.is_hard]
    assert hard
    assert max(hard) <= MOST_HARD_CALLS


def test_only_messages_are_sent_twice() -> None:
    """No other call is made twice; a message to a service's own queue rarely, since its copies would be copied too."""
    plan = ChaosPlan(8, chance_twice=0.5)
    assert not any(plan.is_sent_twice(call) for call in CALLS)
    there = Counter(plan.is_sent_twice(call) for call in SENDS)
    elsewhere = Counter(plan.is_sent_twice(replace(call, service="create_mailing_list")) for call in SENDS)
    assert 0 < there[True] < elsewhere[True]


def test_targets_are_the_same_in_each_run() -> None:
    """Moments are left out of keys: a tick's, a minute's; what is made from contents stays."""
    assert stable_target("payloads/fetch_sftp_file-20261130T154200Z/f1") == "payloads/fetch_sftp_file-*/f1"
    assert stable_target("pace/brand/20261130T1542Z") == "pace/brand/*"
    assert stable_target("ledger/acme-0123456789ab/import_contacts/00001") == (
        "ledger/acme-0123456789ab/import_contacts/00001"
    )


def test_faults_of_qualtrics_are_bounded_scenarios() -> None:
    """Every fault is one that the simulator has, and hits a limited number of calls."""
    faults = ChaosPlan(9).qualtrics_faults()
    assert {fault.scenario for fault in faults} <= SCENARIOS.keys()
    assert all(fault.count for fault in faults)
