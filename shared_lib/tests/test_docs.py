"""The pages are true: what they name exists, and what exists they name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from qualtrics_etl import errors
from qualtrics_etl.catalogue import KINDS
from qualtrics_etl.cli import main as command_line
from qualtrics_etl.formats.rows import Row, RowModel
from qualtrics_etl.ledger import State
from qualtrics_etl.qualtrics import Contact
from qualtrics_etl.settings import (
    CiSettings,
    PostSettings,
    QualtricsSettings,
    SftpSettings,
    StageConfig,
    StepSettings,
)
from qualtrics_etl.simulator import SCENARIOS, Fault
from qualtrics_etl.simulator.endpoints import ROUTES
from qualtrics_etl.simulator.inspection.routes import ROUTES as INSPECTION_ROUTES
from qualtrics_etl.steps import base as steps_base
from qualtrics_etl.steps.base import CAUSE_ATTRIBUTE, Step
from qualtrics_etl.steps.calling import CallingStep
from qualtrics_etl.steps.contexts import RowContext, RunContext
from qualtrics_etl.workflow import Service, Workflow

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "shared_lib" / "src" / "qualtrics_etl"
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
}
QUESTIONS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
STEPS: dict[str, type[Step]] = {
    kind.name: getattr(importlib.import_module(kind.module), kind.class_name) for kind in KINDS.values()
}
NO_HOOKS = {"Settings", "kind", "may_repeat", "refused_settings", "settings"}
"""Public names of a step's class that are not the client's to override."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def without_blocks(text: str) -> str:
    """Return a page without its fenced blocks, whose comments would look like headings."""
    return FENCE.sub("", text)


def headings(text: str) -> list[str]:
    """Return the headings of a page, with their marks."""
    return re.findall(r"^#+ .*$", without_blocks(text), re.MULTILINE)


def section(page: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of any level."""
    lines = PAGES[page].splitlines()
    below = lines[lines.index(heading) + 1 :]
    return "\n".join(takewhile(lambda line: not re.match(r"#+ ", line), below))


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a text, without their heads."""
    lines = [line for line in without_blocks(text).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = [index for index, row in enumerate(cells) if set("".join(row)) <= set("-: ")]
    heads = {index - 1 for index in rules}
    return [row for index, row in enumerate(cells) if index not in heads and index not in rules]


def code_in(cell: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def column(text: str, number: int = 0) -> list[str]:
    """Return the code in one column of a text's tables, from the top."""
    return [name for row in rows(text) for name in code_in(row[number])]


def commands(text: str, program: str) -> Iterator[list[str]]:
    """Yield the words behind each call of a program, in blocks of shell commands and between backticks."""
    blocks = [block for language, block in FENCE.findall(text) if language == "bash"]
    lines = [line for block in blocks for line in block.splitlines()] + code_in(without_blocks(text))
    for line in lines:
        if re.match(rf"(\.venv/bin/)?{program} ", line):
            yield shlex.split(line, comments=True)[1:]


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def targets(makefile: Path) -> set[str]:
    """Return what can be made."""
    return set(re.findall(r"^([a-z0-9-]+):.*## ", makefile.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page: str) -> None:
    """Every link inside the repository leads to a file, and to a heading of it where it names one."""
    here = (ROOT / page).parent
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", without_blocks(PAGES[page])):
        path, _, anchor = link.partition("#")
        target = (here / path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in map(slug, headings(target.read_text(encoding="utf-8"))), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    """The README links every other page."""
    links = set(re.findall(r"\]\(([^)#]+)\)", PAGES["README.md"]))
    assert PAGES.keys() - links == {"README.md"}


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    """Every `make` command is one of this repository's Makefile, or of a generated one's."""
    known = targets(ROOT / "Makefile") | targets(TEMPLATE / "Makefile")
    named = {word for words in commands(PAGES[page], "make") for word in words if "=" not in word}
    assert named <= known


def cli_options() -> dict[str, list[set[str]]]:
    """Return the options of each `qetl` command, each with its other spellings."""
    group: Any = typer.main.get_command(command_line.app)
    return {
        name: [{*each.opts, *each.secondary_opts} for each in command.params if each.opts[0].startswith("--")]
        for name, command in group.commands.items()
    }


@pytest.mark.parametrize("page", PAGES)
def test_qetl_commands_exist(page: str) -> None:
    """Every `qetl` command in the pages exists, and has the options that it is shown with."""
    known = cli_options()
    for command, *words in commands(PAGES[page], "qetl"):
        options = set().union(*known[command])
        assert {word for word in words if word.startswith("--")} <= options, command


def test_every_qetl_option_is_shown() -> None:
    """Each command and each option of `qetl` stands on some page."""
    shown = {word for text in PAGES.values() for words in commands(text, "qetl") for word in words}
    shown |= {name for text in PAGES.values() for name in code_in(without_blocks(text)) if name.startswith("--")}
    unshown = [(name, *sorted(each)) for name, options in cli_options().items() for each in options if not each & shown]
    assert (cli_options().keys() - shown, unshown) == (set(), [])


def test_bare_options_are_qetls() -> None:
    """An option that is named without its command is one of `qetl`."""
    known = set().union(*(each for options in cli_options().values() for each in options))
    named = {name for text in PAGES.values() for name in code_in(without_blocks(text)) if name.startswith("--")}
    assert named <= known


def error_classes() -> dict[str, type]:
    """Return the classes of the error module, in its order."""
    return {
        name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and cls.__module__ == errors.__name__
    }


def test_error_tree_is_that_of_the_code() -> None:
    """The page draws the very tree that the module's docstring has."""
    blocks = [block for _, block in FENCE.findall(PAGES["docs/errors.md"])]
    tree = (errors.__doc__ or "").split("\n\n")[1]
    assert blocks[0] == inspect.cleandoc(tree) + "\n"


def test_every_error_has_its_consequence() -> None:
    """The table of what happens next has each class but the root, in the order of the code."""
    assert [row[0].strip("`") for row in rows(section("docs/errors.md", "## What happens next"))] == [
        *list(error_classes())[1:],
        "anything else",
    ]


def test_facts_for_code_are_attributes() -> None:
    """Each class that carries more than the root stands in the table with what it carries."""
    classes = {name: set(inspect.signature(cls).parameters) for name, cls in error_classes().items()}
    root = classes["QualtricsEtlError"]
    told = rows(section("docs/errors.md", "## Facts for code"))
    assert set(code_in(told[0][1])) == root
    assert {name: set(code_in(row[1])) for row in told[1:] for name in code_in(row[0])} == {
        name: facts - root for name, facts in classes.items() if facts - root
    }


def test_attributes_of_dead_letters_are_those_of_the_code() -> None:
    """The page lists what a step writes on a dead letter."""
    (written,) = re.findall(r"attributes = \{\n(.*?)\}", inspect.getsource(steps_base), re.DOTALL)
    names = [name or CAUSE_ATTRIBUTE for name in re.findall(r'^ +(?:"(\w+)"|CAUSE_ATTRIBUTE):', written, re.MULTILINE)]
    assert column(section("docs/errors.md", "## In a dead-letter queue")) == names


def test_exit_codes_are_those_of_the_commands() -> None:
    """The exit codes on the page are 0 and the constants of the command line."""
    modules = [importlib.import_module(f"qualtrics_etl.cli.{path.stem}") for path in (PACKAGE / "cli").glob("*.py")]
    used = {value for module in modules for name, value in vars(module).items() if name.startswith("EXIT_")}
    told = {int(row[0]) for row in rows(section("docs/errors.md", "## Exit codes of `qetl`"))}
    assert told == used | {0}


def test_catalogue_is_the_codes() -> None:
    """Each kind, in order, with what it works on, takes and gives."""
    told = {
        row[0].strip("`"): row[1:] for row in rows(section("docs/architecture.md", "## From a file to an invitation"))
    }
    assert {name: (level, code_in(takes), code_in(gives)) for name, (level, takes, gives) in told.items()} == {
        kind.name: (kind.level.value, [fact.__name__ for fact in kind.takes], [kind.gives.__name__])
        for kind in KINDS.values()
    }


def public_hooks() -> dict[str, object]:
    """Return what clients may override, by class and name."""
    return {
        f"{cls.__name__}.{name}": hook
        for cls in STEPS.values()
        for name, hook in vars(cls).items()
        if not name.startswith("_") and name not in NO_HOOKS and not getattr(hook, "__final__", False)
    }


def test_hooks_are_those_of_the_code() -> None:
    """Every hook has its heading, below that of its kind, and no heading names another."""
    marks = [heading for heading in headings(PAGES["docs/hooks.md"]) if heading.startswith("### ")]
    assert [code_in(mark)[0] for mark in marks] == list(public_hooks())


@pytest.mark.parametrize("hook", [name for name, hook in public_hooks().items() if inspect.isfunction(hook)])
def test_hook_is_shown_with_its_arguments(hook: str) -> None:
    """A method's section begins with its signature: the arguments of the code, in their order."""
    shown = code_in(section("docs/hooks.md", f"### `{hook}`"))[0]
    function: Any = public_hooks()[hook]
    arguments = [name for name in inspect.signature(function).parameters if name != "self"]
    assert [
        name.split(":")[0] for name in shown.partition("(")[2].rstrip(")").replace("*, ", "").split(", ")
    ] == arguments


@pytest.mark.parametrize(("heading", "cls"), [("RunContext", RunContext), ("RowContext", RowContext)])
def test_contexts_have_their_attributes(heading: str, cls: type) -> None:
    """What hooks are told is listed in full."""
    text = section("docs/hooks.md", "## What hooks are told").partition(f"`{heading}`:")[2]
    fields = [field.name for field in dataclasses.fields(cls)]
    assert column(text)[: len(fields)] == fields


def test_contact_has_its_fields() -> None:
    """The page lists the fields of a contact."""
    told = column(section("docs/hooks.md", "### `ImportContacts.build_contact`"))
    assert told == [field.name for field in dataclasses.fields(Contact)]


def default_of(field: FieldInfo) -> str:
    """Return how a page writes a default."""
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    return {None: "none", "": '`""`'}.get(default, f"`{default}`") if not isinstance(default, dict) else f"`{default}`"


def bounds_of(field: FieldInfo) -> list[str]:
    """Return how a page writes the bounds or the choices of a setting; nothing where the type has neither."""
    limits = [getattr(mark, name) for mark in field.metadata for name in ("ge", "le") if hasattr(mark, name)]
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    return [f"{limits[0]} to {limits[1]}"] if len(limits) == 2 else [f"`{choice}`" for choice in choices]


MODELS: dict[str, type[BaseModel]] = {
    "### A service": Service,
    "## config/&lt;stage&gt;.yml": StageConfig,
    "### `qualtrics`": QualtricsSettings,
    "### `sftp`": SftpSettings,
    "### `post`": PostSettings,
    "### `ci`": CiSettings,
    **{f"### `{kind}`": cls.Settings for kind, cls in STEPS.items()},
}
"""Headings of the page of settings, and the models that they describe."""


@pytest.mark.parametrize(("heading", "model"), MODELS.items())
def test_settings_are_those_of_the_code(heading: str, model: type[BaseModel]) -> None:
    """Each setting stands in its table with default, bounds and choices, and no table names another."""
    told = {row[0].strip("`"): row[1:] for row in rows(section("docs/settings.md", heading))}
    assert {name: row[0] for name, row in told.items()} == {
        name: default_of(field) for name, field in model.model_fields.items()
    }
    missing = {name: bounds_of(field) for name, field in model.model_fields.items()}
    assert {name: [b for b in bounds if b not in told[name][1]] for name, bounds in missing.items()} == {
        name: [] for name in told
    }


def test_workflow_file_has_its_keys() -> None:
    """The page lists the keys at the top of workflow.yml."""
    keys = [field.name for field in dataclasses.fields(Workflow) if not field.name.startswith("_")]
    assert column(section("docs/settings.md", "## workflow.yml")) == keys


def test_kinds_without_settings_say_so() -> None:
    """A kind without settings of its own is on the page too."""
    without = [kind for kind, cls in STEPS.items() if cls.Settings is StepSettings]
    assert {kind: section("docs/settings.md", f"### `{kind}`").strip() for kind in without} == dict.fromkeys(
        without, "It has no settings."
    )


def test_secrets_are_those_that_are_asked_for() -> None:
    """Every secret that the code asks for is on the page, and no other."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if "local" not in path.parts)
    told = column(section("docs/settings.md", "## Secrets"))
    assert sorted(told) == sorted(set(re.findall(r'secrets\.get\("(\w+)"\)', code)))


def test_function_variables_are_those_that_are_read() -> None:
    """Every environment variable that a function reads is on the page, and no other."""
    code = (PACKAGE / "runtime.py").read_text(encoding="utf-8")
    told = column(section("docs/settings.md", "## What a function is told"))
    assert sorted(told) == sorted(set(re.findall(r"\bQETL_[A-Z_]+\b", code)))


def test_states_are_those_of_the_ledger() -> None:
    """The table and the drawing have every state of an entry, and no other."""
    states = [state.value for state in State]
    text = PAGES["docs/delivery.md"]
    drawn = {name for pair in re.findall(r"^ +(\S+) --> ([\w\[\]*]+)", text, re.MULTILINE) for name in pair}
    assert column(section("docs/delivery.md", "## States of an entry")) == states
    assert drawn - {"[*]"} == set(states)


def test_numbers_are_those_of_the_code() -> None:
    """Each constant of the table has the value that the table says."""
    for row in rows(section("docs/delivery.md", "## Numbers")):
        module, _, name = row[0].strip("`").rpartition(".")
        assert str(getattr(importlib.import_module(f"qualtrics_etl.{module}"), name)) == row[1], name


def test_every_kind_has_its_promise() -> None:
    """Each kind stands in the table of promises, and in the family that its class belongs to."""
    assert [code_in(row[0])[0] for row in rows(section("docs/delivery.md", "## What is promised"))] == list(KINDS)
    families = rows(section("docs/delivery.md", "## Two families of steps"))[0]
    calling = [kind for kind, cls in STEPS.items() if issubclass(cls, CallingStep)]
    assert (code_in(families[1]), code_in(families[2])) == (calling, [kind for kind in KINDS if kind not in calling])


def test_rooms_are_those_of_the_library() -> None:
    """The table of rooms has every module and package, in the order of the layers that lint checks."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers: list[str] = configuration["tool"]["importlinter"]["contracts"][0]["layers"]
    in_order = [name.removeprefix("qualtrics_etl.") for layer in layers for name in layer.split(" | ")]
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    told = [code_in(row[0])[0] for row in rows(section("docs/architecture.md", "## The rooms of the library"))]
    assert told == in_order
    assert {room for room in rooms if not room.startswith("__")} == {*told, "simulator"}


def test_prefixes_are_kept_as_long_as_terraform_says() -> None:
    """What the page says of the bucket's prefixes is what their lifecycle rules do."""
    rule = r'prefix = "(\w+)/"(?:, expire_after_days = (\d+))?'
    terraform = (TEMPLATE / "terraform" / "main.tf").read_text(encoding="utf-8")
    kept = {prefix: f"{days} days" if days else "for good" for prefix, days in re.findall(rule, terraform)}
    told = {
        code_in(row[0])[0].split("/")[0]: row[2]
        for row in rows(section("docs/architecture.md", "## On AWS"))
        if len(row) == 3
    }
    assert told == {prefix: kept[prefix] for prefix in ("ledger", "payloads", "rejects", "outcomes", "files", "pace")}


def test_scenarios_are_those_of_the_simulator() -> None:
    """Every scenario and every key to tune one stands on the page, the keys with their defaults."""
    fields = {
        field.name: field.default for field in dataclasses.fields(Fault) if field.name not in ("scenario", "seen")
    }
    tables = rows(section("docs/simulator.md", "## Scenarios"))
    assert [code_in(row[0])[0] for row in tables] == [*SCENARIOS, *fields]
    told = {code_in(row[0])[0]: row[1] for row in tables[len(SCENARIOS) :]}
    assert told == {
        name: str(default) if default not in (None, "") else "the scenario's own" for name, default in fields.items()
    }


def test_endpoints_are_those_of_the_simulator() -> None:
    """Every simulated endpoint stands on the page with its limit."""
    told = [(row[0].strip("`"), int(row[1])) for row in rows(section("docs/simulator.md", "## Endpoints"))]
    assert told == [(route.name, route.per_minute) for route in ROUTES]


def test_inspection_addresses_are_those_of_the_simulator() -> None:
    """Every inspection address stands on the page: those of the table in the code, the page itself, and the state's."""
    told = {row[0].strip("`") for row in rows(section("docs/simulator.md", "## Inspection"))}
    others = {"GET /_sim", "GET /_sim/dump", "POST /_sim/load"}
    assert told == {f"{route.method} {route.pattern}" for route in INSPECTION_ROUTES} | others


def test_questions_are_those_of_the_template() -> None:
    """Every question stands on the page with its default, and every choice that it offers."""
    told = {row[0].strip("`"): row[1:] for row in rows(section("docs/template.md", "## Questions"))[:9]}
    asked = {name: value for name, value in QUESTIONS.items() if not name.startswith("_")}
    assert list(told) == list(asked)
    for name, value in asked.items():
        if isinstance(value, list):
            assert (told[name][0], code_in(told[name][1])) == (value[0], value)
        elif name != "project_slug":
            assert told[name][0] == {True: "yes", False: "no"}.get(value, value)


def test_paths_are_those_of_the_template() -> None:
    """Every path that the page shows of a generated repository is in the template; its tie is written by a hook."""
    told = set(column(section("docs/template.md", "## What comes out"))) - {".cruft.json"}
    patterns = [re.sub(r"<\w+>", "*", path) for path in told]
    assert [pattern for pattern in patterns if not any(TEMPLATE.glob(pattern))] == []


def test_services_are_those_of_the_template() -> None:
    """Every service that a question can bring stands on the page with its condition."""
    told = {row[0].strip("`"): row[1] for row in rows(section("docs/template.md", "## Questions"))[9:]}
    assert told == {name: condition(service.get("when")) for name, service in QUESTIONS["_services"].items()}


def condition(when: Mapping[str, Any] | None) -> str:
    """Return how the page says when a service is there."""
    if when is None:
        return "always"
    answers = ["yes" if answer is True else str(answer) for answer in when["of"]]
    *first, last = answers
    return f"`{when['question']}` is " + (f"{', '.join(first)} or {last}" if first else last)


SNIPPETS = {
    f"{page}-{number}": code
    for page, text in PAGES.items()
    for number, code in enumerate((block for language, block in FENCE.findall(text) if language == "python"), 1)
}
"""Python in the pages, by page and number."""


@pytest.mark.parametrize("code", SNIPPETS.values(), ids=SNIPPETS)
def test_snippet_runs(code: str) -> None:
    """Every Python snippet compiles and runs, its imports exist, and what it overrides is a hook."""
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, "snippet", "exec", dont_inherit=True), names)
    for cls in (value for value in names.values() if inspect.isclass(value) and value.__module__ == "snippet"):
        if issubclass(cls, Step):
            overridden = {f"{base.__name__}.{name}" for base in cls.__bases__ for name in public_names(cls)}
            assert overridden <= public_hooks().keys()
        elif hasattr(cls, "__orig_bases__") and Row in cls.__orig_bases__:
            assert RowModel(cls).fields


def public_names(cls: type) -> list[str]:
    """Return what a class defines that does not begin with an underscore."""
    return [name for name in vars(cls) if not name.startswith("_")]
