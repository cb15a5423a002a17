"""The workflow: which services run, in which order, with which settings; read from `workflow.yml` and checked.

Checked means: whatever passes here can work. Each error names the line and the remedy.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from qualtrics_etl.catalogue import KINDS, LEVEL_OF_FACT, Kind, Level
from qualtrics_etl.errors import WorkflowError
from qualtrics_etl.messages import Fact, Ticked
from qualtrics_etl.settings import Settings, problem
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

WORKFLOW_FILE = "workflow.yml"
MAX_FUNCTION_SECONDS = 300
"""Longest function time-out: six times this is the queue's visibility time-out, which an on-call engineer waits for."""
VISIBILITY_FACTOR = 6
"""Visibility time-out in function time-outs. Source: AWS Lambda developer guide, using Lambda with Amazon SQS."""
SERIAL_RECEIVE_COUNT = 1000
"""Source: Amazon SQS developer guide, dead-letter queues (the largest maxReceiveCount)."""

MAX_SERVICES = 100
"""Services of a workflow, chains of it, and services of a chain: more fit no stack.

Source: AWS CloudFormation user guide, the page on quotas (500 resources; a service has several).
"""

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=32)]
RESERVED_NAMES = ("aws", "ssm")
"""How no parameter's name may begin, and those of a workflow begin with its name. Source: SSM API, PutParameter."""


def _not_reserved(name: str) -> str:
    if name.startswith(RESERVED_NAMES):
        raise ValueError("AWS keeps names that begin with aws or ssm for itself")
    return name


WorkflowName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=3, max_length=20),
    AfterValidator(_not_reserved),
]


_SPREAD = re.compile(r"(?<=^cron\()H(?:/([1-9]|[1-5]\d|60))?(?= )")
"""In the place of a cron's minute: some minute of the hour, or every so many minutes from some minute on."""


def _known_letters(schedule: str) -> str:
    if re.search(r"\bH\b", _SPREAD.sub("0", schedule)):
        raise ValueError("H stands for the minute of a cron, as H or H/15, and for nothing else")
    return schedule


Schedule = Annotated[str, StringConstraints(pattern=r"^(rate|cron)\([^()]+\)$"), AfterValidator(_known_letters)]


class Service(Settings):
    """One service: a queue, a dead-letter queue, a function, a folder; and the step it runs.

    Attributes:
        kind: Which step of the catalogue.
        timeout_seconds: The function's time-out.
        memory_mb: The function's memory.
        concurrency: `serial` (strictly one after the other, in order), `unbounded`, or at most so many at once.
        batch_size: Messages one invocation gets.
        max_receive_count: Tries before a message goes to the dead-letter queue.
        schedule: When to look for input: `rate(...)` or `cron(...)`, UTC; for the first service of a chain. A cron's
            minute may be `H` or `H/15`: `Workflow.schedule_of` says which it is.
        settings: The step's own settings; `config/<stage>.yml` may override each.
    """

    kind: str
    timeout_seconds: Annotated[int, Field(ge=1, le=MAX_FUNCTION_SECONDS)]
    memory_mb: Annotated[int, Field(ge=128, le=10240)]
    concurrency: Literal["serial", "unbounded"] | Annotated[int, Field(ge=2, le=1000)]
    batch_size: Annotated[int, Field(ge=1, le=10)]
    max_receive_count: Annotated[int, Field(ge=2, le=1000)]
    schedule: Schedule | None = None
    settings: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def step(self) -> Kind:
        """The kind of step it runs."""
        return KINDS[self.kind]

    @property
    def serial(self) -> bool:
        """Whether its queue is FIFO with one message at a time."""
        return self.concurrency == "serial"

    @property
    def queue_receive_count(self) -> int:
        """Receives after which its queue itself gives a message up.

        In a serial queue a deferral is a receive too, so there the step counts its tries, and the queue hardly at all.
        """
        return SERIAL_RECEIVE_COUNT if self.serial else self.max_receive_count

    @property
    def visibility_seconds(self) -> int:
        """Visibility time-out of its queue."""
        return max(30, VISIBILITY_FACTOR * self.timeout_seconds)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A checked workflow.

    Attributes:
        name: The client repository's slug.
        chains: Services in order, by chain name; chains that begin alike and part later make a branch.
        services: By name, in the order of the chains.
    """

    name: str
    chains: Mapping[str, tuple[str, ...]]
    services: Mapping[str, Service]
    _next: Mapping[str, tuple[str, ...]] = field(repr=False)

    def next_of(self, service: str) -> tuple[str, ...]:
        """Return the services that follow, in the order of the chains."""
        return self._next[service]

    def starts(self) -> tuple[str, ...]:
        """Return the services that begin a chain."""
        return tuple(dict.fromkeys(chain[0] for chain in self.chains.values()))

    def level_of(self, service: str) -> Level:
        """Return whether a message of this service stands for a run or a batch."""
        return self.services[service].step.level

    def schedule_of(self, service: str) -> str | None:
        """Return a service's schedule as AWS takes it; None where it has none.

        `H` becomes a minute that is made from the names of workflow and service: always the same for one client, and
        another for others, so that not all of them ask Qualtrics at the full hour. serverless/schedules.cjs of a
        generated repository computes the same.
        """
        schedule = self.services[service].schedule
        return None if schedule is None else _SPREAD.sub(lambda found: _minute(self.name, service, found[1]), schedule)

    def fan_ins_behind(self, service: str) -> tuple[str, ...]:
        """Return the run-level services that wait for all batches of this batch-level one, directly or further on."""
        found: dict[str, None] = {}
        for following in self.next_of(service):
            if self.level_of(following) is Level.RUN:
                found[following] = None
            else:
                found.update(dict.fromkeys(self.fan_ins_behind(following)))
        return tuple(found)

    def before(self, service: str) -> tuple[str, ...]:
        """Return the services that this one follows, in the order of the workflow."""
        return tuple(name for name in self.services if service in self._next[name])

    def behind(self, service: str) -> tuple[str, ...]:
        """Return the services that hear nothing of a piece of work that ends here.

        A batch is missed by the batch-level services up to those that wait for all batches; a run by everything behind.
        """
        whole_run, found, ends = self.level_of(service) is Level.RUN, set[str](), [service]
        while ends:
            for following in self.next_of(ends.pop()):
                if following not in found and (whole_run or self.level_of(following) is Level.BATCH):
                    found.add(following)
                    ends.append(following)
        return tuple(name for name in self.services if name in found)


def _minute(workflow: str, service: str, step: str | None) -> str:
    number = int.from_bytes(hashlib.sha256(f"{workflow}/{service}".encode()).digest()[:4])
    return f"{number % int(step)}/{step}" if step else str(number % 60)


def read_workflow(root: Path) -> Workflow:
    """Read and check `workflow.yml` of a generated repository.

    Raises:
        WorkflowError: The first thing that can't work, with its line and the remedy.
        ConfigurationError: There is no such file, or it is not YAML.
    """
    return check_workflow(read_yaml(root / WORKFLOW_FILE))


def check_workflow(file: YamlFile) -> Workflow:
    """Turn the content of a workflow.yml into a workflow.

    Raises:
        WorkflowError: All that is wrong with it, one a line.
    """
    problems = list(_shape_problems(file))
    if not problems:
        problems = list(_content_problems(file))
    if problems:
        raise _together(problems)
    chains = {name: tuple(services) for name, services in file.data["chains"].items()}
    order = dict.fromkeys(service for chain in chains.values() for service in chain)
    return Workflow(
        name=file.data["name"],
        chains=chains,
        services={name: Service.model_validate(file.data["services"][name]) for name in order},
        _next={name: tuple(dict.fromkeys(_followers(chains, name))) for name in order},
    )


def _together(problems: list[WorkflowError]) -> WorkflowError:
    if len(problems) == 1:
        return problems[0]
    rest = "\n".join(str(error) for error in problems[1:])
    first = problems[0]
    return WorkflowError(first.what, remedy=f"{first.remedy}\n{rest}", line=first.line)


def _followers(chains: Mapping[str, tuple[str, ...]], service: str) -> Iterator[str]:
    for chain in chains.values():
        for here, following in pairwise(chain):
            if here == service:
                yield following


class _Names(Settings):
    """The outer shape of a workflow.yml."""

    name: WorkflowName
    chains: Annotated[
        dict[str, Annotated[list[ServiceName], Field(min_length=1, max_length=MAX_SERVICES)]],
        Field(min_length=1, max_length=MAX_SERVICES),
    ]
    services: Annotated[dict[ServiceName, dict[str, Any]], Field(min_length=1, max_length=MAX_SERVICES)]


def _shape_problems(file: YamlFile) -> Iterator[WorkflowError]:
    yield from _model_problems(file, _Names, file.data if file.data is not None else {}, ())
    if not isinstance(file.data, dict):
        return
    services = file.data.get("services")
    for name, service in (services if isinstance(services, dict) else {}).items():
        yield from _model_problems(file, Service, service, ("services", str(name)))


def _model_problems(
    file: YamlFile, model: type[Settings], data: object, path: tuple[str, ...]
) -> Iterator[WorkflowError]:
    try:
        model.model_validate(data)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_context=False):
            # pydantic names the branch of a union last; the line is that of the key before it.
            location = (*path, *(part for part in error["loc"] if part != "[key]"))
            what = problem({**error, "loc": location})
            yield WorkflowError(f"{what}.", remedy=_remedy(location), line=file.line_of(*location))


def _remedy(location: tuple[str | int, ...]) -> str:
    last = next((str(part) for part in reversed(location) if str(part) in Service.model_fields), "")
    return {
        "timeout_seconds": f"Give 1 to {MAX_FUNCTION_SECONDS} seconds; longer work goes on in another invocation.",
        "memory_mb": "Give 128 to 10240.",
        "concurrency": "Give `serial`, `unbounded` or a number from 2 to 1000.",
        "batch_size": "Give 1 to 10.",
        "max_receive_count": "Give 2 to 1000; 5 is usual.",
        "schedule": "Give `rate(15 minutes)`, `cron(H 6 * * ? *)` or `cron(H/15 * * * ? *)`.",
        "kind": f"Known kinds: {', '.join(sorted(KINDS))}.",
    }.get(last, "See the comments in workflow.yml, or a freshly generated repository.")


def _content_problems(file: YamlFile) -> Iterator[WorkflowError]:
    services, chains = file.data["services"], file.data["chains"]
    for name, service in services.items():
        yield from _service_problems(file, name, service)
    used = {name for chain in chains.values() for name in chain}
    yield from _name_problems(file, used)
    if used <= services.keys() and all(services[name]["kind"] in KINDS for name in used):
        yield from _order_problems(file)


def _name_problems(file: YamlFile, used: set[str]) -> Iterator[WorkflowError]:
    """Chains and services must name each other."""
    services, chains = file.data["services"], file.data["chains"]
    for chain_name, chain in chains.items():
        for index, name in enumerate(chain):
            if name not in services:
                yield WorkflowError(
                    f"chain `{chain_name}` names `{name}`, which is not among `services`.",
                    remedy=f"Add `{name}:` to `services`, or take it out of the chain.",
                    line=file.line_of("chains", chain_name, index),
                )
    for name in services:
        if name not in used:
            yield WorkflowError(
                f"service `{name}` stands in no chain, so nothing ever reaches it.",
                remedy="Put it into a chain, or delete it and its folder.",
                line=file.line_of("services", name),
            )


def _service_problems(file: YamlFile, name: str, service: Mapping[str, Any]) -> Iterator[WorkflowError]:
    if service["kind"] not in KINDS:
        yield WorkflowError(
            f"service `{name}` is of kind `{service['kind']}`, which this library does not have.",
            remedy=f"Known kinds: {', '.join(sorted(KINDS))}.",
            line=file.line_of("services", name, "kind"),
        )
    if service["concurrency"] == "serial" and service["batch_size"] != 1:
        yield WorkflowError(
            f"service `{name}` is serial and takes {service['batch_size']} messages at once.",
            remedy="Write `batch_size: 1`: a serial service works on one message at a time.",
            line=file.line_of("services", name, "batch_size"),
        )


def _order_problems(file: YamlFile) -> Iterator[WorkflowError]:
    chains = {name: tuple(chain) for name, chain in file.data["chains"].items()}
    cycle = _cycle(chains)
    if cycle:
        yield WorkflowError(
            f"the chains go round in a circle: {' -> '.join(cycle)}.",
            remedy="A service can't follow itself; give the second one a name of its own.",
            line=file.line_of("chains"),
        )
        return
    for name, chain_name in {chain[0]: chain_name for chain_name, chain in reversed(chains.items())}.items():
        yield from _start_problems(file, chain_name, name)
    for chain_name, chain in chains.items():
        yield from _chain_problems(file, chain_name, chain)
    yield from _join_problems(file, chains)


def _cycle(chains: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the services of a circle, its first again at the end; empty when there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for following in _followers(chains, name):
            if found := visit(following, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for chain in chains.values() if (found := visit(chain[0], []))), [])


def _chain_problems(file: YamlFile, chain_name: str, chain: tuple[str, ...]) -> Iterator[WorkflowError]:
    for before, name in pairwise(chain):
        yield from _follower_problems(file, chain_name, before, name)
    yield from _fact_problems(file, chain_name, chain)


def _start_problems(file: YamlFile, chain_name: str, name: str) -> Iterator[WorkflowError]:
    """What begins a chain must be started by something."""
    service = file.data["services"][name]
    starts_on = KINDS[service["kind"]].starts_on
    if starts_on is None:
        starters = ", ".join(sorted(kind.name for kind in KINDS.values() if kind.starts_on))
        yield WorkflowError(
            f"chain `{chain_name}` begins with `{name}`, which nothing starts.",
            remedy=f"Begin it with a service of one of these kinds: {starters}.",
            line=file.line_of("chains", chain_name, 0),
        )
    elif starts_on is Ticked and not service.get("schedule"):
        yield WorkflowError(
            f"`{name}` begins chain `{chain_name}` and has no `schedule`, so nothing ever starts it.",
            remedy="Write `schedule: cron(H/15 * * * ? *)`.",
            line=file.line_of("services", name),
        )
    elif starts_on is not Ticked and service.get("schedule"):
        yield WorkflowError(
            f"`{name}` has a `schedule`, and is started by what the client sends.",
            remedy="Delete its `schedule`.",
            line=file.line_of("services", name, "schedule"),
        )


def _follower_problems(file: YamlFile, chain_name: str, before: str, name: str) -> Iterator[WorkflowError]:
    """What follows another service must not start by itself."""
    service = file.data["services"][name]
    kind = KINDS[service["kind"]]
    if kind.starts_on is not None:
        yield WorkflowError(
            f"`{name}` takes input in, and stands behind `{before}`.",
            remedy=f"Move it to the beginning of a chain; `{kind.name}` starts a run.",
            line=file.line_of("chains", chain_name, file.data["chains"][chain_name].index(name)),
        )
    if service.get("schedule"):
        yield WorkflowError(
            f"`{name}` has a `schedule`, but does not begin a chain.",
            remedy="Delete its `schedule`: the service before it decides when it runs.",
            line=file.line_of("services", name, "schedule"),
        )


def _fact_problems(file: YamlFile, chain_name: str, chain: tuple[str, ...]) -> Iterator[WorkflowError]:
    """What a service needs must be given by one before it."""
    known: set[type[Fact]] = set()
    for index, name in enumerate(chain):
        kind = KINDS[file.data["services"][name]["kind"]]
        if kind.level is Level.RUN:
            # At a fan-in, what was true of one batch stays behind.
            known = {fact for fact in known if LEVEL_OF_FACT.get(fact) is not Level.BATCH}
        for fact in kind.takes:
            if fact not in known:
                givers = ", ".join(sorted(each.name for each in KINDS.values() if each.gives is fact))
                yield WorkflowError(
                    f"`{name}` needs {fact.__name__}, and no service before it in chain `{chain_name}` gives that.",
                    remedy=f"Put a service of kind {givers} before it.",
                    line=file.line_of("chains", chain_name, index),
                )
        known.add(kind.gives)


def _join_problems(file: YamlFile, chains: Mapping[str, tuple[str, ...]]) -> Iterator[WorkflowError]:
    """Two ways to one service within a run: the second message would look like a copy of the first, and be dropped."""
    before: dict[str, dict[str, set[str]]] = {}
    for chain in chains.values():
        for here, following in pairwise(chain):
            before.setdefault(following, {}).setdefault(here, set()).add(chain[0])
    for name, givers in before.items():
        starts = [start for each in givers.values() for start in each]
        if len(starts) != len(set(starts)):
            chain_name, index = next((c, chain.index(name)) for c, chain in chains.items() if name in chain)
            yield WorkflowError(
                f"`{name}` follows {' and '.join(f'`{giver}`' for giver in sorted(givers))} in the same run.",
                remedy="Give the second one a service of its own, with another name.",
                line=file.line_of("chains", chain_name, index),
            )
