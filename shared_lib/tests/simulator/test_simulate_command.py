"""`qetl simulate`, as a person starts and stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import typer
from typer.testing import CliRunner

from qualtrics_etl.cli.simulate import scenario_table, simulate
from qualtrics_etl.simulator import SCENARIOS, Simulator

APP = typer.Typer()
APP.command()(simulate)
PROGRAM = "import typer; from qualtrics_etl.cli.simulate import simulate; typer.run(simulate)"


def run(*arguments: str) -> tuple[int, str]:
    """Run the command in this process; say exit code and output."""
    result = CliRunner().invoke(APP, arguments)
    return result.exit_code, result.output


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start the command in a process; gives it and the five lines of its greeting."""
    command = [sys.executable, "-c", PROGRAM, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as process:
        assert process.stdout is not None
        try:
            yield process, [process.stdout.readline().rstrip("\n") for _ in range(5)]
        finally:
            process.kill()


def test_greeting_says_where_it_is_and_a_signal_stops_it_with_its_state_kept(tmp_path: Path) -> None:
    """The greeting names API, token and page; SIGTERM ends it cleanly, and the state file takes it up again."""
    state = tmp_path / "simulator.json"
    with started("--state", str(state)) as (process, lines):
        base_url = lines[0].removeprefix("Qualtrics simulator: ")
        token = lines[2].split()[-1]
        headers = {"X-API-TOKEN": token}
        lists = f"{base_url}/API/v3/directories/POOL_ExampleDirector/mailinglists"
        assert requests.post(lists, json={"name": "Kept"}, headers=headers, timeout=5).ok
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert lines[1:] == [
        f"  API:     {base_url}/API/v3",
        f"  Token:   {token}",
        f"  Look in: {base_url}/_sim/",
        "Ctrl-C stops it.",
    ]
    assert [each.name for each in Simulator.load(state.read_bytes()).state.mailing_lists.values()] == ["Kept"]
    assert state.stat().st_mode & 0o777 == 0o600


def test_port_in_use_is_told_and_exits_2(simulator: Simulator) -> None:
    """The text names the port and the way out."""
    with simulator.serve() as base_url:
        port = base_url.rpartition(":")[2]
        assert run("--port", port) == (
            2,
            f"Port {port} can't be used (Address already in use). Choose another one: qetl simulate --port 0\n",
        )


def test_scenarios_are_listed_and_nothing_is_served() -> None:
    """Every scenario stands in a line of its own, with what it does."""
    code, output = run("--scenarios")
    assert (code, output) == (0, scenario_table() + "\n")
    assert [line.split()[0] for line in output.splitlines()[: len(SCENARIOS)]] == list(SCENARIOS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "nothing"], "--scenario nothing: There is no scenario 'nothing'."),
        (["--seed-file", "missing.json"], "The seed file missing.json can't be read:"),
        (["--state", "."], ". can't be loaded:"),
    ],
)
def test_wrong_option_is_told_and_exits_2(arguments: list[str], words: str) -> None:
    """A mistake is told in one line, before anything is served."""
    code, output = run(*arguments)
    assert (code, output.startswith(words), output.count("\n")) == (2, True, 1)


def test_seed_file_and_scenario_are_used(tmp_path: Path) -> None:
    """What the seed file holds is served, with the fault that was asked for."""
    seed = tmp_path / "seed.json"
    seed.write_text(json.dumps({"tokens": ["secret"], "surveys": [{"survey_id": "SV_000000000000001"}]}))
    with started("--seed-file", str(seed), "--scenario", "server_error:count=1") as (_, lines):
        url = lines[1].split()[-1] + "/surveys/SV_000000000000001"
        answers = [requests.get(url, headers={"X-API-TOKEN": "secret"}, timeout=5) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [500, 200]
