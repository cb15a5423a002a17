"""A deployed repository under a plan of faults, until nothing is left to do: what was injected, and what came of it.

The functions are deployed as always, on this machine. Then they are led to a proxy that lets their calls go wrong, the
simulated Qualtrics is told what goes wrong there, and dead letters are sent back as a person would: by `qetl redrive`,
when their cause is one that the faults explain.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qualtrics_etl.aws.access import StageAccess
from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.aws.redrive import DeadLetters, Letter
from qualtrics_etl.local.emulator import ACCESS_KEY, open_directly
from qualtrics_etl.local.place import Place
from qualtrics_etl.payloads import sighting_key
from qualtrics_etl.settings import read_config
from qualtrics_etl.summary import RunSummary, summarize_runs
from qualtrics_etl.testing.chaos_plan import ChaosPlan
from qualtrics_etl.testing.chaos_proxy import ChaosProxy, StoreClock
from qualtrics_etl.workflow import Workflow, read_workflow

STAGE = "local"
SPEED = 5.0
"""How many seconds of the store's clock, and of the queues' delays, pass in one of the machine's."""
AHEAD_SECONDS = 420.0
"""How far the store's clock is ahead of the functions' from the start."""
SHORTEST_JOB_SECONDS = 0.2
"""Of an import job at the simulated Qualtrics."""
POLL_SECONDS = 1.0
TICK_SECONDS = 8.0

Tell = Callable[[str], None]
_DEPTHS = tuple(f"ApproximateNumberOfMessages{suffix}" for suffix in ("", "NotVisible", "Delayed"))
_EXPLAINED = (
    ("", ""),  # given up by the queue: its workers were killed, or came to no end
    ("RetryableError", ""),
    ("PermanentError", "has failed (status"),
    ("PermanentError", "contacts came in"),
)
"""Errors of dead letters that the faults explain, with words of their causes; anything else is a finding."""


@dataclass
class Ended:
    """What came of it.

    Attributes:
        runs: What the ledger says.
        letters: The dead letters that were found and sent back: how many, by service and error.
        unexplained: Those of them that no fault explains.
        seconds: How long it took, on the machine's clock.
    """

    runs: list[RunSummary] = field(default_factory=list)
    letters: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Chaos:
    """A deployed repository whose functions' calls go wrong.

    Attributes:
        workflow: The repository's.
        objects: Its bucket, as it is: nothing goes wrong here.
        proxy: What stands between the functions and AWS.
    """

    def __init__(self, root: Path, place: Place, proxy: ChaosProxy) -> None:
        self.workflow: Workflow = read_workflow(root)
        self.proxy = proxy
        self._root = root
        self._place = place
        aws = AwsAccess(place.region, place.emulator_url, (ACCESS_KEY, ACCESS_KEY))
        account = read_config(root, STAGE).aws_account_id
        self._access = StageAccess(self.workflow.name, STAGE, account, aws)
        self.objects = S3Objects(self._access.read_parameter("bucket"), aws.client("s3"))
        self._sqs: Any = aws.client("sqs")
        self._lambda: Any = aws.client("lambda")
        self._queues = {service: self._queue_urls(service) for service in self.workflow.services}
        self._letters = {service: DeadLetters(self._access, service) for service in self.workflow.services}
        self._armed: list[dict[str, Any]] = []
        self._seen: set[str] = set()

    def lead(self, addresses: Mapping[str, str], visibility_seconds: int) -> None:
        """Lead each function to its address, and let its queue hide a message no longer than so."""
        for service, address in addresses.items():
            name = self._access.function_name(service)
            variables = self._lambda.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            self._lambda.update_function_configuration(
                FunctionName=name, Environment={"Variables": {**variables, "AWS_ENDPOINT_URL": address}}
            )
            self._sqs.set_queue_attributes(
                QueueUrl=self._queues[service][0], Attributes={"VisibilityTimeout": str(visibility_seconds)}
            )

    def arm(self, plan: ChaosPlan) -> None:
        """Tell the simulated Qualtrics what goes wrong there."""
        self._simulated("jobs", {"looks": 0, "seconds": SHORTEST_JOB_SECONDS})
        for fault in plan.qualtrics_faults():
            self._armed.append(asdict(fault))
            self._simulated("faults", asdict(fault))

    def injected(self) -> Counter[str]:
        """Return how often each kind of fault was injected so far."""
        counts = self.proxy.log.counts()
        for before, now in zip(self._armed, self._simulated("faults")["faults"], strict=True):
            counts[f"qualtrics: {before['scenario']}"] += before["count"] - now["count"]
        return +counts

    def await_end(self, files: int, runs: int, deadline_seconds: float, tell: Tell) -> Ended:
        """Look for files, wait, and send dead letters back, until all runs have come to their end and nothing waits.

        Args:
            files: How many lie at the client's.
            runs: How many contents they have.
            tell: Is told how far it is, whenever that changes.

        Raises:
            TimeoutError: It does not end in time; says what is left.
        """
        ended, began, next_tick_at, told = Ended(), time.monotonic(), 0.0, ""
        while True:
            ended.seconds = time.monotonic() - began
            ended.runs = summarize_runs(self.workflow, self.objects)
            taken = sum(len(list(self.objects.list(sighting_key(each, "")))) for each in self.workflow.starts())
            waiting = self._waiting()
            if (line := self._progress(ended, taken, waiting)) != told:
                told = line
                tell(f"{ended.seconds:5.0f} s  {line}")
            if taken >= files and not waiting and self._ended_runs(ended.runs) >= runs:
                return ended
            if ended.seconds > deadline_seconds:
                raise TimeoutError(f"Not at its end after {deadline_seconds:.0f} s: {line}")
            if taken < files and time.monotonic() >= next_tick_at:
                next_tick_at = time.monotonic() + TICK_SECONDS
                self._qetl("tick", "--stage", STAGE)  # it may well fail: the next one will find the files
            self._send_back(ended)
            time.sleep(POLL_SECONDS)

    def _queue_urls(self, service: str) -> tuple[str, str]:
        own: str = json.loads(self._access.read_parameter(f"{service}/queue_urls"))[service]
        return own, self._access.read_parameter(f"{service}/dead_letter_queue_url")

    def _waiting(self) -> dict[str, int]:
        """Return how many messages wait, are being worked on or delayed, by queue; empty queues are left out."""
        found = {url.rpartition("/")[2]: self._depth(url) for urls in self._queues.values() for url in urls}
        return {name: count for name, count in found.items() if count}

    def _depth(self, url: str) -> int:
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_DEPTHS))["Attributes"]
        return sum(int(answer[name]) for name in _DEPTHS)

    def _ended_runs(self, runs: list[RunSummary]) -> int:
        last = {chain[-1] for chain in self.workflow.chains.values()}
        return sum(all(run.done.get(service) for service in last) for run in runs)

    def _progress(self, ended: Ended, taken: int, waiting: Mapping[str, int]) -> str:
        done = sum(sum(run.done.values()) for run in ended.runs)
        return (
            f"{taken} files taken, {self._ended_runs(ended.runs)} of {len(ended.runs)} runs ended, {done} entries done,"
            f" {len(self.proxy.log.injected)} of {self.proxy.log.calls} calls disturbed, waiting: {dict(waiting)}"
        )

    def _send_back(self, ended: Ended) -> None:
        for service, letters in self._letters.items():
            if not letters.count():
                continue
            for letter in letters.look():
                if letter.raw["MessageId"] in self._seen:
                    continue  # a copy that the last redrive left
                self._seen.add(letter.raw["MessageId"])
                ended.letters[f"{service}: {letter.error or 'given up by the queue'}"] += 1
                if not _is_explained(letter):
                    ended.unexplained.append(f"{service}, batch {letter.batch}: {letter.error}: {letter.cause}")
            self._qetl("redrive", service, "--stage", STAGE)

    def _qetl(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "qualtrics_etl", *arguments]
        subprocess.run(command, cwd=self._root, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603

    def _simulated(self, what: str, body: Mapping[str, Any] | None = None) -> Any:
        given = None if body is None else json.dumps(body).encode()
        return json.loads(open_directly(f"{self._place.base_url}/_sim/{what}", given))


@contextmanager
def chaos(root: Path, place: Place, plan: ChaosPlan, *, visibility_seconds: int) -> Iterator[Chaos]:
    """Lead the functions of a deployed repository through a proxy that lets their calls go wrong, while the block runs.

    What is deployed is no good for anything else afterwards: destroy it.

    Args:
        root: The repository.
        place: Where it is deployed.
        plan: What goes wrong.
        visibility_seconds: For how long a queue hides a message that is worked on, on the machine's clock: at least the
            functions' time-out.
    """
    proxy = ChaosProxy(place, plan, StoreClock(time.time(), AHEAD_SECONDS, SPEED))
    made = Chaos(root, place, proxy)
    with proxy.serve(list(made.workflow.services)) as addresses:
        made.lead(addresses, visibility_seconds)
        made.arm(plan)
        yield made


def table(counts: Counter[str]) -> str:
    """Return counts as lines, the most frequent first, and their sum."""
    lines = [f"{count:6}  {name}" for name, count in counts.most_common()]
    return "\n".join([*lines, f"{counts.total():6}  in all, of {len(counts)} kinds"])


def _is_explained(letter: Letter) -> bool:
    return any(letter.error == error and words in letter.cause for error, words in _EXPLAINED)
