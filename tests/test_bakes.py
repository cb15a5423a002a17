"""What comes out of the template, for every combination of answers that it supports."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.answers import CONFIG, DEFAULTS, SUPPORTED, chosen, label
from tests.conftest import SLUG_FOLDER, Bake, listed_files, tree

STAGES = ("local", "dev", "staging", "prod")
HOSTILE: list[dict[str, Any]] = [
    {"client_name": "O'Neil & Sons <é>"},
    {"client_name": "N" * 60, "project_slug": "x" * 20, "alarm_email": f"{'a' * 64}@{'b' * 60}.example"},
    {"client_name": "# - *: yes", "project_slug": "yes", "alarm_email": "#no+tag@client.example"},
    {"client_name": "1. 日本 `x` [y](z)", "project_slug": "on1", "qualtrics_datacenter": "no"},
]
every_choice = pytest.mark.parametrize("answers", SUPPORTED, ids=label)
every_bake = pytest.mark.parametrize("answers", [*SUPPORTED, *HOSTILE], ids=label)
each_number_of_services = pytest.mark.parametrize("answers", [a for a in SUPPORTED if a["ci"] == "none"], ids=label)


def read_yaml(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def expected_files(answers: dict[str, Any]) -> list[str]:
    """Return the template's files without those of the parts that were not chosen."""
    left_out = [
        path
        for table in ("_services", "_ci")
        for name, part in CONFIG[table].items()
        if name not in chosen(table, answers)
        for path in part["paths"]
    ]
    files = [name.removeprefix(f"{SLUG_FOLDER}/") for name in listed_files(SLUG_FOLDER)]
    kept = [file for file in files if not any(file == path or file.startswith(f"{path}/") for path in left_out)]
    return sorted([*kept, ".cruft.json"])


@every_choice
def test_exactly_the_chosen_files_are_there(baked: Bake, answers: dict[str, Any]) -> None:
    """A repository has the files of what was chosen, and no others."""
    assert sorted(tree(baked(**answers))) == expected_files(answers)


def test_the_example_has_these_services(baked: Bake) -> None:
    """Without any answer comes the example: a file becomes a list, an invitation and one reminder."""
    services = sorted(path.name for path in (baked() / "services").iterdir())
    assert services == [
        "create_mailing_list",
        "fetch_sftp_file",
        "import_contacts",
        "parse_file",
        "schedule_distribution",
        "schedule_reminder",
    ]


@every_bake
def test_nothing_of_the_template_is_left(baked: Bake, answers: dict[str, Any]) -> None:
    """No brace of the template and no word of its own is left in what comes out."""
    texts = {name: content for name, content in tree(baked(**answers)).items() if not name.endswith((".whl", "t.json"))}
    leftover = re.compile(rb"cookiecutter\.|\{%|%\}|(?<!\$)\{\{|\{#")
    assert [name for name, content in texts.items() if leftover.search(content)] == []


@every_bake
def test_every_file_can_be_read(baked: Bake, answers: dict[str, Any]) -> None:
    """Python, YAML, TOML and JSON are valid whatever the names are."""
    parsers = {".py": ast.parse, ".yml": yaml.safe_load, ".toml": tomllib.loads, ".json": json.loads}
    for name, content in tree(baked(**answers)).items():
        parser = parsers.get(Path(name).suffix)
        if parser:
            assert parser(content.decode("utf-8")) is not None, name


@every_bake
def test_comes_out_formatted(baked: Bake, answers: dict[str, Any]) -> None:
    """What comes out needs no formatter and has no lint."""
    for command in (["format", "--check", "--quiet"], ["check", "--quiet"]):
        ruff = [str(Path(sys.executable).parent / "ruff"), *command, "--no-cache", "."]
        result = subprocess.run(ruff, cwd=baked(**answers), capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (0, "")


@every_bake
def test_texts_end_with_one_line_end(baked: Bake, answers: dict[str, Any]) -> None:
    """No text has blank lines at its end, two blank lines in a row outside Python, or blanks at a line's end."""
    untidy = re.compile(r"\n\n\Z|[ \t]\n|\A\n")
    doubled = re.compile(r"\n\n\n")
    texts = {name: content.decode() for name, content in tree(baked(**answers)).items() if not name.endswith(".whl")}
    assert [name for name, text in texts.items() if untidy.search(text)] == []
    assert [name for name, text in texts.items() if not name.endswith(".py") and doubled.search(text)] == []


@each_number_of_services
def test_workflow_follows_the_table(baked: Bake, answers: dict[str, Any]) -> None:
    """workflow.yml has the chosen services in the table's order, each with a kind, and so has the README."""
    repository = baked(**answers)
    services = chosen("_services", answers)
    workflow = read_yaml(repository / "workflow.yml")
    assert workflow["name"] == "acme-etl"
    assert workflow["chains"] == {"contacts": services}
    assert list(workflow["services"]) == services
    picture = (repository / "README.md").read_text(encoding="utf-8").split("```")[1]
    assert re.findall(r"^(\w+_\w+) ", picture, re.MULTILINE) == services


@each_number_of_services
def test_no_other_service_is_named(baked: Bake, answers: dict[str, Any]) -> None:
    """A service that was not chosen is named nowhere, save in the record of the answers."""
    absent = set(CONFIG["_services"]) - set(chosen("_services", answers))
    texts = {
        name: content.decode()
        for name, content in tree(baked(**answers)).items()
        if not name.endswith((".whl", ".cruft.json"))
    }
    named = {(name, word) for name, text in texts.items() for word in absent if re.search(rf"\b{word}\b", text)}
    # A kind may be named where its service is not: the catalogue of kinds does not depend on the answers.
    assert {(name, word) for name, word in named if not name.startswith("terraform/")} == set()


@each_number_of_services
def test_settings_name_only_services_that_are_there(baked: Bake, answers: dict[str, Any]) -> None:
    """Each stage's settings are for this stage, and for the services that send something; locally nobody waits."""
    senders = [name for name in chosen("_services", answers) if name.startswith("schedule_")]
    waiting = [name for name in ("fetch_sftp_file", "import_contacts") if name in chosen("_services", answers)]
    quicker = {"local": waiting}
    for stage in STAGES:
        config = read_yaml(baked(**answers) / "config" / f"{stage}.yml")
        assert (config["stage"], list(config["services"])) == (stage, quicker.get(stage, []) + senders)


@each_number_of_services
def test_stage_knows_the_one_way_in(baked: Bake, answers: dict[str, Any]) -> None:
    """Each stage's settings are about files or about POSTs, as was answered, and about the other way nowhere."""
    blocks = {"sftp": "sftp", "post": "post"}
    for stage in STAGES:
        config = read_yaml(baked(**answers) / "config" / f"{stage}.yml")
        assert [block for block in blocks if block in config] == [answers["inbound"]]
    layers = read_yaml(baked(**answers) / "serverless.yml")["layers"]
    assert list(layers) == (["base", "sftp"] if answers["inbound"] == "sftp" else ["base"])


def unfilled(value: object) -> bool:
    """Whether a setting, or one inside it, was left empty."""
    return any(map(unfilled, value.values())) if isinstance(value, dict) else value is None


def test_only_the_local_settings_are_complete(baked: Bake) -> None:
    """The local stage works at once; the others wait for what only the client knows."""
    configs = {stage: read_yaml(baked() / "config" / f"{stage}.yml") for stage in STAGES}
    assert {stage: unfilled(config) for stage, config in configs.items()} == {
        "local": False,
        "dev": True,
        "staging": True,
        "prod": True,
    }


def test_answers_arrive_whole(baked: Bake) -> None:
    """A name with quotes, umlauts or YAML's own signs arrives as it was typed."""
    for answers in HOSTILE:
        full = DEFAULTS | answers
        config = read_yaml(baked(**answers) / "config" / "dev.yml")
        sender = config["services"]["schedule_distribution"]["from_name"]
        assert (sender, config["alarm_email"]) == (full["client_name"], full["alarm_email"])
        assert config["qualtrics"]["datacenter"] == full["qualtrics_datacenter"]
        assert read_yaml(baked(**answers) / "workflow.yml")["name"] == baked(**answers).name


def test_slug_is_made_from_the_name(baked: Bake) -> None:
    """Who gives only a name gets a slug from its first word."""
    assert baked(client_name="Globex Retail").name == "globex-etl"


def test_python_holds_no_answers(baked: Bake) -> None:
    """Code is the same whoever the client is; a long name can't change its form."""
    one, other = (
        {name: content for name, content in tree(baked(**answers)).items() if name.endswith(".py")}
        for answers in ({}, HOSTILE[1])
    )
    assert one == other


def test_handlers_are_short(baked: Bake) -> None:
    """A handler holds only what is the client's: at most 25 lines."""
    handlers = (baked(reminders="3") / "services").glob("*/handler.py")
    lines = {path.parent.name: len(path.read_text("utf-8").splitlines()) for path in handlers}
    assert {name: count for name, count in lines.items() if count > 25} == {}


def test_same_answers_give_the_same_bytes(template: Path, bake: Bake, baked: Bake, tmp_path: Path) -> None:
    """Generated twice from the same answers, two repositories are the same, byte for byte."""
    assert tree(bake(template, tmp_path)) == tree(baked())


def test_make_lists_its_commands(baked: Bake) -> None:
    """`make` alone lists the commands, and every command named in a document or in CI is one of them."""
    listed = subprocess.run(["make"], cwd=baked(), capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"^  make ([a-z-]+) ", listed, re.MULTILINE))
    makefile = (baked() / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {"check", "clean", "format", "help", "lint", "run", "setup", "test", "update-template"} <= commands
    for ci in CONFIG["ci"]:
        for name, content in tree(baked(ci=ci)).items():
            if name.endswith((".md", ".yml", ".yaml")):
                assert set(re.findall(r"\bmake ([a-z][a-z-]+)(?=[\s`)]|$)", content.decode())) <= targets, name


MADE = {
    "deploy": "deploy",
    "destroy": "destroy",
    "unlock": "unlock",
    "receipt": "receipt",
    "redrive": "redrive",
    "resend": "resend",
    "waive": "waive",
    "erase": "erase",
    "status": "status",
    "tick": "tick",
    "logs": "logs",
    "plan": "plan",
    "drift": "plan",
    "bootstrap": "bootstrap",
    "secret": "secret",
}
"""Every target that is about a stage, and the command that it calls."""


def would_run(repository: Path, *words: str, **exported: str) -> tuple[list[str], str]:
    """Return the words of the qetl command that make would run, none when it refuses, and what it says then."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **exported}
    command = ["make", "--dry-run", *words]
    result = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    calls = [line for line in result.stdout.splitlines() if line.startswith(".venv/bin/qetl ")]
    assert len(calls) == (result.returncode == 0), result.stderr
    return shlex.split(calls[0])[1:] if calls else [], result.stderr


@pytest.mark.parametrize("target", MADE)
def test_stage_is_said_with_the_command(baked: Bake, target: str) -> None:
    """A stage that a shell has exported is none that was said; one that was said goes to qetl as one word."""
    given = (target, "NAME=token", "SERVICE=import_contacts", "RUN=acme-0", "WHY=sent anew")
    assert would_run(baked(), *given) == would_run(baked(), *given, STAGE="prod")
    words, refused = would_run(baked(), *given, STAGE="prod")
    assert (words, f"Say which stage: make {target} STAGE=dev" in refused) == ([], True)
    assert would_run(baked(), "-e", *given, STAGE="prod")[0] == []
    words, _ = would_run(baked(), *given, "STAGE=dev; echo *", STAGE="prod")
    assert words[0] == MADE[target]
    assert words[words.index("--stage") + 1] == "dev; echo *"


def test_consent_is_said_with_the_command(baked: Bake) -> None:
    """What a shell has exported neither says yes nor chooses anything else; the same words said with a command do."""
    said = {
        "deploy": {"PREBUILT": "--prebuilt", "YES": "--yes", "DISCARD_MESSAGES": "--discard-messages"},
        "destroy": {"YES": "--yes"},
        "unlock": {"YES": "--yes"},
        "redrive": {
            "LIMIT": "--limit 1",
            "RUN": "--run 1",
            "BATCH": "--batch 1",
            "OUTCOME_UNKNOWN": "--outcome-unknown",
            "DRY_RUN": "--dry-run",
        },
        "resend": {"OUTCOME_UNKNOWN": "--outcome-unknown", "DRY_RUN": "--dry-run", "YES": "--yes"},
        "logs": {"SINCE": "--since 1", "RUN": "--run 1"},
        "receipt": {"OUT": "--out 1"},
        "status": {"LIMIT": "--limit 1"},
        "waive": {"YES": "--yes"},
        "erase": {"EVEN_UNFINISHED": "--even-unfinished", "YES": "--yes"},
    }
    needed = {
        "redrive": ("SERVICE=import_contacts",),
        "receipt": ("RUN=acme-0",),
        "resend": ("RUN=acme-0",),
        "waive": ("SERVICE=import_contacts", "RUN=acme-0", "WHY=sent anew"),
        "erase": ("RUN=acme-0",),
    }
    for target, options in said.items():
        given = (target, "STAGE=dev", *needed.get(target, ()))
        plain, _ = would_run(baked(), *given)
        assert would_run(baked(), *given, **dict.fromkeys([*options, "SERVICE"], "1"))[0] == plain
        words, _ = would_run(baked(), *given, *(f"{name}=1" for name in options))
        assert words == plain + " ".join(options.values()).split()


def test_waiver_names_each_batch_and_reads_its_reason_as_text(baked: Bake) -> None:
    """Several batches are several options; the reason, which is free text, reaches qetl as one word and no command."""
    words, _ = would_run(baked(), "waive", "STAGE=dev", "SERVICE=s", "RUN=r", "BATCH=00003 00017", "WHY=x; echo *")
    assert words == [
        "waive",
        "s",
        "--stage",
        "dev",
        "--run",
        "r",
        "--batch",
        "00003",
        "--batch",
        "00017",
        "--why",
        "$WHY",
    ]
    for missing in ("SERVICE=s", "RUN=r", "WHY=x"):
        given = [each for each in ("SERVICE=s", "RUN=r", "WHY=x") if each != missing]
        assert "Say what and why: make waive" in would_run(baked(), "waive", "STAGE=dev", *given)[1]


def test_file_is_said_with_the_post(baked: Bake) -> None:
    """What is POSTed is said with the command: without a word no sample goes to a stage, nor what a shell exported."""
    posting = baked(inbound="post")
    for exported in ({}, {"FILE": "x.csv"}):
        for given in ((), ("FILE=",), ("-e",)):
            words, refused = would_run(posting, "post", "STAGE=prod", *given, **exported)
            assert (words, "Say which: make post STAGE=dev FILE=contacts.csv" in refused) == ([], True)
        words, _ = would_run(posting, "post", "STAGE=dev", "FILE=my file.csv; echo *", **exported)
        assert words == ["post", "my file.csv; echo *", "--stage", "dev"]
        assert would_run(posting, "run", **exported)[0] == ["run", "tests/data/contacts.csv"]
        assert would_run(posting, "run", "FILE=my file.csv", **exported)[0] == ["run", "my file.csv"]
    words, refused = would_run(posting, "post", "FILE=x.csv", STAGE="prod")
    assert (words, "Say which stage: make post STAGE=dev" in refused) == ([], True)
    texts = [content.decode() for name, content in tree(posting).items() if name.endswith((".md", "Makefile"))]
    shown = [words for text in texts for words in re.findall(r"make post\b([^`\n]*)", text)]
    assert [("STAGE=" in words, "FILE=" in words) for words in shown] == [(True, True)] * 5


def test_pipelines_say_what_they_mean(baked: Bake) -> None:
    """Stages and consents stand on the command lines of pipelines, so they count there."""
    commands = {
        command
        for ci, folder in (("github", ".github"), ("gitlab", "."))
        for path in sorted((baked(ci=ci) / folder).rglob("*.yml"))
        for command in re.findall(r"make (?:deploy|drift|plan|unlock) .*", path.read_text(encoding="utf-8"))
    }
    assert len(commands) == 9
    for command in commands:
        words = shlex.split(command.replace("$STAGE", "dev"))[1:]
        called, _ = would_run(baked(), *words)
        assert called[1:3] == ["--stage", words[1].removeprefix("STAGE=")]
        assert ("--yes" in called) == ("YES=1" in words)


def test_sample_has_good_rows_and_six_kinds_of_bad_ones(baked: Bake) -> None:
    """The sample file is as real files are: nearly all good, and no two bad rows alike."""
    lines = (baked() / "tests/data/contacts.csv").read_text(encoding="utf-8").splitlines()
    good = re.compile(r"[^@,\s]+@[^@,\s]+\.\w+,[^,]+,[^,]+,(DE|EN|FR),([^,\"]+|\"[^\"]+\"),2025-03-\d\d")
    assert lines[0] == "email,first_name,last_name,language,branch,visited_on"
    assert [line for line in lines[1:] if not good.fullmatch(line)] == [
        ",Iris,Weber,DE,Riverside,2025-03-04",
        "jonas.example.com,Jonas,Keller,DE,Old Town,2025-03-05",
        "mira.sandoval@example.com,,Sandoval,EN,Northgate,2025-03-06",
        "leo.fischer@example.com,Leo,Fischer,DE,Old Town,2025-02-30",
        "tess.walker@example.com,Tess,Walker",
        "pia.horn@example.com,Pia,Horn,DE,Riverside,2025-03-07,unexpected",
    ]
    assert len(lines) == 201
