"""`qetl simulate`: the part of the Qualtrics API that the library uses, on this machine, with no account anywhere."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from qualtrics_etl.simulator import Fault, Seed, Simulator

DEFAULT_PORT = 8137


def simulate(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = DEFAULT_PORT,
    seed_file: Annotated[
        Path | None,
        typer.Option(help="JSON file: tokens, directories, surveys and libraries that exist from the start."),
    ] = None,
    no_rate_limits: Annotated[bool, typer.Option("--no-rate-limits", help="Never answer 429 by itself.")] = False,
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong: NAME, or NAME:key=value,... (see --scenarios). May be given repeatedly."),
    ] = None,
    scenarios: Annotated[bool, typer.Option("--scenarios", help="List what can go wrong, and exit.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(help="File that keeps everything: loaded when it is there, written when the simulator stops."),
    ] = None,
) -> None:
    """Serve a Qualtrics that lives on this machine, until Ctrl-C.

    It remembers lists, contacts and distributions, refuses what the real one refuses, mails nobody, and shows who
    would have been mailed. `qetl run` starts one of its own; this one is for a look into what a run left
    (`--state .qetl/simulator.json`), and for other programs.

    \b
    For example:
      qetl simulate
      qetl simulate --port 0 --no-rate-limits
      qetl simulate --scenario throttle:count=5 --scenario slow_jobs:count=all
      qetl simulate --state .qetl/simulator.json
      qetl simulate --seed-file brand.json --state simulator.json

    \b
    A seed file looks like this:
      {"tokens": ["..."],
       "directories": [{"directory_id": "POOL_...", "deduplication": {"email": true}}],
       "surveys": [{"survey_id": "SV_..."}],
       "libraries": [{"library_id": "UR_...", "messages": [{"message_id": "MS_..."}]}]}
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    if scenarios:
        typer.echo(scenario_table())
        return
    simulator = _build(seed_file, state, rate_limits=not no_rate_limits)
    for fault in map(_fault, scenario or []):
        simulator.arm(fault)
    _serve(simulator, port)
    if state is not None:
        _save(simulator, state)


def scenario_table() -> str:
    """Return every scenario with its one line, and how to tune one."""
    # Imported where used, here and below: the other commands must not pay for a web server.
    from qualtrics_etl.simulator import SCENARIOS

    width = max(map(len, SCENARIOS)) + 2
    rows = [f"{name:<{width}}{scenario.description}" for name, scenario in SCENARIOS.items()]
    tuning = (
        "Settings, as NAME:key=value,...: count (how many calls, or all; default 1), skip (calls let through first),\n"
        "chance (0 to 1) and its seed, seconds, method, path (a pattern below /API/v3, like */mailinglists)."
    )
    return "\n".join([*rows, "", tuning])


def _serve(simulator: Simulator, port: int) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        try:
            base_url = stack.enter_context(simulator.serve(port))
        except OSError as exc:
            reason = os.strerror(exc.errno) if exc.errno else str(exc)
            _fail(f"Port {port} can't be used ({reason}). Choose another one: qetl simulate --port 0")
        typer.echo(_greeting(simulator, base_url))
        stop.wait()


def _greeting(simulator: Simulator, base_url: str) -> str:
    tokens = simulator.state.tokens
    return "\n".join(
        [
            f"Qualtrics simulator: {base_url}",
            f"  API:     {base_url}/API/v3",
            f"  Token:   {tokens[0] if tokens else 'none: the seed has no tokens'}",
            f"  Look in: {base_url}/_sim/",
            "Ctrl-C stops it.",
        ]
    )


def _build(seed_file: Path | None, state: Path | None, *, rate_limits: bool) -> Simulator:
    from qualtrics_etl.simulator import Simulator

    seed = _seed(seed_file) if seed_file is not None else None
    if state is None or not state.exists():
        return Simulator(seed, rate_limits=rate_limits)
    try:
        simulator = Simulator.load(state.read_bytes(), rate_limits=rate_limits)
    except (OSError, ValueError) as exc:
        _fail(f"{state} can't be loaded: {exc}. Name another file, or delete it to begin anew.")
    if seed is not None:
        simulator.state.add(seed)
    return simulator


def _seed(path: Path) -> Seed:
    from qualtrics_etl.simulator import Seed

    try:
        return Seed.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError) as exc:
        _fail(f"The seed file {path} can't be read: {exc}. `qetl simulate --help` shows what one looks like.")


def _fault(text: str) -> Fault:
    from qualtrics_etl.simulator.faults import parse

    try:
        return parse(text)
    except ValueError as exc:
        _fail(f"--scenario {text}: {exc} `qetl simulate --scenarios` tells more.")


def _save(simulator: Simulator, path: Path) -> None:
    body = simulator.dump()
    # Beside it first: an interrupted write must not cost the state that is there. It holds persons, so only we read it.
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600)
        beside.write_bytes(body)
        beside.replace(path)
    except OSError as exc:
        _fail(f"The state can't be written to {path}: {exc.strerror or exc}.")
    typer.echo(f"Kept in {path}.")


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(2)
