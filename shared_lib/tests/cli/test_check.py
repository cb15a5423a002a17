"""`qetl check`: what disagrees is found here, not in a queue."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from qualtrics_etl.cli.functions import function_problems
from qualtrics_etl.workflow import read_workflow

Make = Callable[..., Path]

SERVERLESS = """\
provider:
  layers:
    - Ref: BaseLambdaLayer
layers:
  base:
    package:
      artifact: ${param:build}/layers/base.zip
  sftp:
    package:
      artifact: ${param:build}/layers/sftp.zip
"""
PERMISSIONS = """\
locals {
  may_all = { read = ["ledger/*"] }

  may = { # by kind
    fetch_sftp_file = {
      secrets = ["sftp_password"] # { of one login
    }
    parse_file            = {}
    create_mailing_list   = { read = ["payloads/{service}/*"] }
    import_contacts       = {}
    schedule_distribution = {}
    schedule_reminder     = {}
  }

  permissions = {
    thank_you = {}
  }
}
"""


@pytest.fixture
def make_repository(make_repository: Make) -> Make:
    """Write a repository with what a deploy reads: layers, packages, locks, and Terraform's tables of kinds."""

    def make(**settings: dict[str, object]) -> Path:
        root = make_repository(**settings)
        for path in (root / "services").glob("*/function.yml"):
            package = f"  package:\n    artifact: ${{param:build}}/functions/{path.parent.name}.zip\n"
            path.write_text(path.read_text() + package)
        fetch = root / "services" / "fetch_sftp_file" / "function.yml"
        fetch.write_text(fetch.read_text() + "  layers: [{Ref: BaseLambdaLayer}, {Ref: SftpLambdaLayer}]\n")
        (root / "serverless.yml").write_text((root / "serverless.yml").read_text() + SERVERLESS)
        (root / "terraform").mkdir()
        (root / "terraform" / "permissions.tf").write_text(PERMISSIONS)
        (root / "terraform" / "workflow.tf").write_text('locals {\n  batch_kinds = ["import_contacts"]\n}\n')
        for lock in ("requirements.txt", "requirements-sftp.txt"):
            (root / lock).touch()
        return root

    return make


def qetl_check(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a repository, as a person would."""
    command = [sys.executable, "-m", "qualtrics_etl", "check", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def replace(path: Path, old: str, new: str) -> None:
    """Change a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_repository_that_agrees_passes(make_repository: Make) -> None:
    """Exit code 0, and one line that says what was looked at."""
    result = qetl_check(make_repository())
    assert (result.returncode, result.stdout) == (0, "acme-etl: 6 services in 1 chain(s) agree.\n")


def break_kind(root: Path) -> str:
    """Give a service an unknown kind."""
    replace(root / "workflow.yml", "kind: parse_file", "kind: parse_files")
    return "error: workflow.yml:21: service `parse_file` is of kind `parse_files`, which this library does not have."


def break_folder(root: Path) -> str:
    """Leave a folder that no service runs."""
    (root / "services" / "old_step").mkdir()
    return "error: services/old_step/ is no service of workflow.yml. Add it there, or delete the folder."


def break_handler(root: Path) -> str:
    """Let a handler run another kind of step."""
    replace(root / "services" / "parse_file" / "handler.py", "(ParseFile)", "(FetchSftpFile)")
    replace(root / "services" / "parse_file" / "handler.py", "import ParseFile", "import FetchSftpFile")
    return (
        "error: services/parse_file/handler.py runs FetchSftpFile (kind fetch_sftp_file), and workflow.yml says that"
        " parse_file is of kind parse_file. Make the two agree."
    )


def break_function(root: Path) -> str:
    """Take a service's function away."""
    (root / "services" / "parse_file" / "function.yml").unlink()
    return "error: services/parse_file/function.yml does not exist. Copy it from another service and change the name."


def break_copied_function(root: Path) -> str:
    """Copy another service's function, and change its key alone."""
    services = root / "services"
    text = (services / "import_contacts" / "function.yml").read_text()
    (services / "parse_file" / "function.yml").write_text(text.replace("import_contacts:", "parse_file:", 1))
    other = "it reads what belongs to `import_contacts`. Write `parse_file` in its place."
    lines = {
        3: "`handler` is `services/import_contacts/handler.handler`."
        " Write `handler: services/parse_file/handler.handler`.",
        7: "`environment.QETL_SERVICE` is `import_contacts`. Write `QETL_SERVICE: parse_file`.",
        14: "`package.artifact` is `${param:build}/functions/import_contacts.zip`."
        " Write `artifact: ${param:build}/functions/parse_file.zip`.",
        **dict.fromkeys((4, 5, 8, 11, 12), other),
    }
    return "".join(f"error: services/parse_file/function.yml:{line}: {text}\n" for line, text in lines.items())


def break_function_environment(root: Path) -> str:
    """Leave a function that is not told which service it runs."""
    replace(root / "services" / "parse_file" / "function.yml", "    QETL_SERVICE: parse_file\n", "")
    return (
        "error: services/parse_file/function.yml:6: `environment.QETL_SERVICE` is missing."
        " Write `QETL_SERVICE: parse_file`."
    )


def break_function_schedule(root: Path) -> str:
    """Leave out the event that starts the chain."""
    path = root / "services" / "fetch_sftp_file" / "function.yml"
    before, _, after = path.read_text().partition("    - schedule:")
    path.write_text(before + "  package:" + after.partition("  package:")[2])
    return (
        "error: services/fetch_sftp_file/function.yml:9: it has no event for the service's schedule: nothing would"
        " start it. Add `- schedule: {name: '${self:custom.prefix}-fetch-sftp-file',"
        " rate: ['${file(serverless/schedules.cjs):fetch_sftp_file}']}` to `events`."
    )


def break_function_yaml(root: Path) -> str:
    """Leave a bracket open."""
    (root / "services" / "parse_file" / "function.yml").write_text("parse_file: [\n")
    return "error: services/parse_file/function.yml:2: it is not valid YAML: "


def break_function_shape(root: Path) -> str:
    """Write a list where a function is wanted."""
    (root / "services" / "parse_file" / "function.yml").write_text("- parse_file\n")
    return (
        "error: services/parse_file/function.yml does not define just one function `parse_file`. Name it as its folder."
    )


def break_list_of_functions(root: Path) -> str:
    """List one function twice, and another's in its place."""
    replace(root / "serverless.yml", "services/parse_file/", "services/import_contacts/")
    replace(root / "serverless.yml", "services/schedule_reminder/", "services/thank_you/")
    start = "error: serverless.yml:1: `functions`"
    return (
        f"{start} does not list parse_file: it would not be deployed."
        " Add `- ${file(services/parse_file/function.yml)}`.\n"
        f"{start} lists import_contacts 2 times. Keep one `- ${{file(services/import_contacts/function.yml)}}`.\n"
        f"{start} does not list schedule_reminder: it would not be deployed."
        " Add `- ${file(services/schedule_reminder/function.yml)}`.\n"
        f"{start} lists thank_you, which is no service of workflow.yml. Delete that entry.\n"
    )


def break_missing_layer(root: Path) -> str:
    """Let a function have the base layer alone, whose step needs another."""
    replace(root / "services" / "fetch_sftp_file" / "function.yml", ", {Ref: SftpLambdaLayer}", "")
    return (
        "error: services/fetch_sftp_file/function.yml:18: it takes no layer `sftp`, which its kind needs."
        " Write `layers: [{Ref: BaseLambdaLayer}, {Ref: SftpLambdaLayer}]`.\n"
    )


def break_layers_for_all(root: Path) -> str:
    """Leave functions without the layer that all take."""
    replace(root / "serverless.yml", "Ref: BaseLambdaLayer", "Ref: OwnLambdaLayer")
    return (
        "error: services/parse_file/function.yml:1: it takes no layer `base`, which its kind needs."
        " Write `layers: [{Ref: BaseLambdaLayer}]`.\n"
    )


def break_needless_layer(root: Path) -> str:
    """Give a function a layer that it has no use for, and leave out the one it needs."""
    path = root / "services" / "parse_file" / "function.yml"
    path.write_text(path.read_text() + "  layers: [{Ref: SftpLambdaLayer}]\n")
    where = "error: services/parse_file/function.yml:15"
    return (
        f"{where}: it takes no layer `base`, which its kind needs. Write `layers: [{{Ref: BaseLambdaLayer}}]`.\n"
        f"{where}: it takes the layer `sftp`, which only kind fetch_sftp_file needs. Delete `Ref: SftpLambdaLayer`.\n"
    )


def break_undefined_layer(root: Path) -> str:
    """Take a layer out of serverless.yml that a function takes."""
    replace(root / "serverless.yml", SERVERLESS[SERVERLESS.index("  sftp:") :], "")
    return (
        "error: serverless.yml:11: `layers` does not define `sftp`, which fetch_sftp_file needs."
        " Copy a layer, and change its name and its artifact.\n"
    )


def break_artifact_of_layer(root: Path) -> str:
    """Let a layer be made of another's packages."""
    replace(root / "serverless.yml", "layers/sftp.zip", "layers/base.zip")
    return (
        "error: serverless.yml:17: the layer `sftp` is not what is built."
        " Write `artifact: ${param:build}/layers/sftp.zip`.\n"
    )


def break_lock(root: Path) -> str:
    """Lose the lock of a layer."""
    (root / "requirements-sftp.txt").unlink()
    return (
        "error: serverless.yml:15: the layer `sftp` is made from requirements-sftp.txt, which does not exist."
        " Write requirements-sftp.in and run `make lock`.\n"
    )


def break_name_of_layer(root: Path) -> str:
    """Name a layer as a service: their packages would overwrite each other."""
    with (root / "serverless.yml").open("a") as file:
        file.write("  parse_file:\n    package:\n      artifact: ${param:build}/layers/parse_file.zip\n")
    return (
        "error: workflow.yml has a service `parse_file`, and serverless.yml a layer of that name. Rename one of them."
    )


def break_serverless(root: Path) -> str:
    """Lose serverless.yml."""
    (root / "serverless.yml").unlink()
    return "error: serverless.yml: there is no such file at "


def break_rights(root: Path) -> str:
    """Give a kind no rights."""
    replace(root / "terraform" / "permissions.tf", "    parse_file            = {}\n", "")
    return (
        "error: terraform/permissions.tf:4: `may` says nothing of kind parse_file, which parse_file is of: Terraform"
        " would stop. Add `parse_file = {...}` with what it may read, write and delete, and its secrets.\n"
    )


def break_permissions(root: Path) -> str:
    """Lose the file of rights."""
    (root / "terraform" / "permissions.tf").unlink()
    return (
        "error: terraform/permissions.tf: no `may = {` says what each kind may do."
        " `git checkout terraform/permissions.tf` brings it back.\n"
    )


def break_batch_kinds(root: Path) -> str:
    """Take one kind for another among those that work on batches."""
    (root / "terraform" / "workflow.tf").write_text('batch_kinds = ["parse_file", "thank_you"]\n')
    where = "error: terraform/workflow.tf:1: `batch_kinds`"
    return (
        f"{where} lacks import_contacts, which gets a message a batch. Add it.\n"
        f"{where} names parse_file, which gets one message a run. Delete it there.\n"
        f"{where} names thank_you, which is no kind of this library. Delete it there.\n"
    )


def break_batches(root: Path) -> str:
    """Lose the file that says which kinds work on batches."""
    (root / "terraform" / "workflow.tf").unlink()
    return (
        "error: terraform/workflow.tf: no `batch_kinds = [...]` says which work on batches."
        " `git checkout terraform/workflow.tf` brings it back.\n"
    )


def break_taken_name(root: Path) -> str:
    """Name a service as one of the roles of pipelines."""
    workflow = root / "workflow.yml"
    workflow.write_text(re.sub(r"(?<!kind: )\bparse_file\b", "plan", workflow.read_text()))
    return (
        "error: workflow.yml:20: a service can't be named `plan`: `make bootstrap` makes a role or policy of that name."
        " Give it another.\n"
    )


def break_no_handler(root: Path) -> str:
    """Leave a handler file without a handler."""
    (root / "services" / "parse_file" / "handler.py").write_text("x = 1\n")
    return (
        "error: services/parse_file/handler.py defines no `handler`."
        " End it with `handler = lambda_handler(TheStepsClass)`."
    )


def break_settings(root: Path) -> str:
    """Give a survey id that can't be one."""
    replace(root / "config" / "local.yml", "SV_ExampleSurvey01", "SV_1")
    return (
        "error: The settings of schedule_distribution can't be used: `survey_id` is 'SV_1': string should match pattern"
        " '^SV_[0-9A-Za-z]{15}$'. See workflow.yml (services.schedule_distribution.settings) or config/local.yml"
        " (services.schedule_distribution). Lines: config/local.yml:21.\n"
    )


def break_workflow_settings(root: Path) -> str:
    """Misspell a setting in workflow.yml."""
    set_in_workflow(root, "parse_file", delimeter=";")
    return (
        "error: The settings of parse_file can't be used: `delimeter` is not a setting that is known here."
        " See workflow.yml (services.parse_file.settings) or config/local.yml (services.parse_file)."
        " Lines: workflow.yml:28.\n"
    )


def set_in_workflow(root: Path, service: str, **settings: object) -> None:
    """Give a service settings in workflow.yml."""
    workflow = yaml.safe_load((root / "workflow.yml").read_text())
    workflow["services"][service]["settings"] = settings
    (root / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False))


def break_encoding(root: Path) -> str:
    """Name an encoding that nobody knows."""
    set_in_workflow(root, "parse_file", encoding="cp1253x")
    return (
        "error: parse_file: The setting `encoding` is 'cp1253x', which is no encoding of text files."
        " Set it to utf-8, cp1252, latin-1 or utf-16. Lines: workflow.yml:28.\n"
    )


def break_delimiter(root: Path) -> str:
    """Separate cells by a letter, in the stage's own settings."""
    with (root / "config" / "local.yml").open("a") as config:
        config.write("  parse_file:\n    delimiter: x\n")
    line = len((root / "config" / "local.yml").read_text().splitlines())
    return (
        "error: parse_file: The setting `delimiter` is 'x', which can't separate cells."
        " Set it to auto, or to one character that is no letter, digit, quote or blank."
        f" Lines: config/local.yml:{line}.\n"
    )


def break_columns(root: Path) -> str:
    """Map two columns to one field."""
    set_in_workflow(root, "parse_file", columns={"Mail": "email", "E-Mail": "email"})
    return (
        "error: parse_file: The setting `columns` maps two columns to one field. Leave one of them out."
        " Lines: workflow.yml:28.\n"
    )


def declare_row(root: Path, kind: str) -> None:
    """Give parse_file's handler a row model of one field."""
    (root / "services" / "parse_file" / "handler.py").write_text(
        "from qualtrics_etl.formats.rows import Row\n"
        "from qualtrics_etl.lambda_entry import lambda_handler\n"
        "from qualtrics_etl.steps.parse_file import ParseFile\n"
        f"class Person(Row):\n    email: {kind}\n"
        "class Parse(ParseFile):\n    row_model = Person\n"
        "handler = lambda_handler(Parse)\n"
    )


def break_row_model(root: Path) -> str:
    """Declare a column as something that no cell becomes."""
    declare_row(root, "ParseFile")
    return "error: parse_file: The row model Person declares `email` as something no cell can become."


def break_field_of_column(root: Path) -> str:
    """Map a column to a field that the row model has not."""
    declare_row(root, "str")
    set_in_workflow(root, "parse_file", columns={"Mail": "e_mail"})
    return (
        "error: parse_file: The setting `columns` maps 'Mail' to 'e_mail', which is no field of the row."
        " Use one of: email. Lines: workflow.yml:28.\n"
    )


def break_pattern(root: Path) -> str:
    """Write the folder into the pattern."""
    set_in_workflow(root, "fetch_sftp_file", pattern="in/*.csv")
    return (
        "error: fetch_sftp_file: The setting `pattern` is 'in/*.csv': it fits no file, since names hold no slash."
        " Put the folder into the setting `folder`. Lines: workflow.yml:"
    )


def break_config_service(root: Path) -> str:
    """Keep settings of a service that is gone."""
    replace(root / "config" / "local.yml", "schedule_reminder:", "schedule_reminders:")
    return (
        "error: config/local.yml has settings for `schedule_reminders`, which is no service of workflow.yml."
        " Delete them, or correct the name."
    )


@pytest.mark.parametrize(
    "break_it",
    [
        break_kind,
        break_folder,
        break_handler,
        break_function,
        break_copied_function,
        break_function_environment,
        break_function_schedule,
        break_function_yaml,
        break_function_shape,
        break_list_of_functions,
        break_missing_layer,
        break_layers_for_all,
        break_needless_layer,
        break_undefined_layer,
        break_artifact_of_layer,
        break_lock,
        break_name_of_layer,
        break_serverless,
        break_rights,
        break_permissions,
        break_batch_kinds,
        break_batches,
        break_taken_name,
        break_no_handler,
        break_settings,
        break_workflow_settings,
        break_encoding,
        break_delimiter,
        break_columns,
        break_row_model,
        break_field_of_column,
        break_pattern,
        break_config_service,
    ],
)
def test_disagreement_is_told_with_its_remedy(make_repository: Make, break_it: Callable[[Path], str]) -> None:
    """Exit code 2; file and remedy are named."""
    root = make_repository()
    expected = break_it(root)
    result = qetl_check(root)
    assert result.returncode == 2
    assert expected in result.stderr


def test_stage_that_is_not_filled_in_is_only_named(make_repository: Make) -> None:
    """A fresh repository passes: what is left open is a note, until that stage is asked for."""
    root = make_repository()
    config = (root / "config" / "local.yml").read_text().replace("stage: local", "stage: dev")
    (root / "config" / "dev.yml").write_text(config.replace("POOL_ExampleDirector", ""))
    assert "note: config/dev.yml: still to be filled in: qualtrics.directory_id" in qetl_check(root).stdout
    asked = qetl_check(root, "--stage", "dev")
    assert asked.returncode == 2
    assert asked.stderr == "error: config/dev.yml: still to be filled in: qualtrics.directory_id\n"


def test_stage_that_is_not_there_is_told(make_repository: Make) -> None:
    """A misspelt stage would otherwise pass."""
    asked = qetl_check(make_repository(), "--stage", "prd")
    assert (asked.returncode, asked.stderr) == (2, "error: There is no config/prd.yml. Stages here: local.\n")


def with_concurrency(root: Path, service: str, concurrency: object) -> Path:
    """Change how many messages of a service are worked on at a time."""
    workflow = yaml.safe_load((root / "workflow.yml").read_text())
    workflow["services"][service] |= {"concurrency": concurrency, "batch_size": 1}
    (root / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False))
    return root


def test_too_much_concurrency_is_a_note(make_repository: Make) -> None:
    """More workers than the limit can feed: the check passes, and says which numbers don't fit."""
    result = qetl_check(with_concurrency(make_repository(), "import_contacts", 16))
    assert result.returncode == 0
    (note,) = [line for line in result.stdout.splitlines() if line.startswith("note: workflow.yml:")]
    assert note.partition(": `")[2] == (
        "import_contacts` with `concurrency: 16` could make about 960 calls of start_contact_import a minute, and stage"
        " local has 100 (100 x qualtrics.share 1): 90% of its looks would be deferrals. 2 at a time use all of it."
    )


def test_unbounded_concurrency_is_a_note(make_repository: Make) -> None:
    """As many as the account allows may be right where runs are few; what it means is said."""
    result = qetl_check(with_concurrency(make_repository(), "schedule_distribution", "unbounded"))
    assert (result.returncode, "about 60,000 calls of create_distribution" in result.stdout) == (0, True)


@pytest.mark.parametrize("concurrency", [2, 3, "serial"])
def test_concurrency_that_the_limit_can_feed_is_fine(make_repository: Make, concurrency: object) -> None:
    """Nothing is said of what fits, nor of the smallest numbers that can be written."""
    result = qetl_check(with_concurrency(make_repository(), "import_contacts", concurrency))
    assert (result.returncode, "note:" in result.stdout) == (0, False)


def test_absurd_concurrency_is_an_error(make_repository: Make) -> None:
    """Where 19 of 20 looks would be deferrals, the check fails at the line."""
    root = with_concurrency(make_repository(), "import_contacts", 500)
    result = qetl_check(root)
    line = next(n for n, text in enumerate((root / "workflow.yml").read_text().splitlines(), 1) if "500" in text)
    assert (result.returncode, f"error: workflow.yml:{line}: `import_contacts`" in result.stderr) == (2, True)


def test_small_share_makes_less_concurrency_enough(make_repository: Make) -> None:
    """What is ours of the limits decides, stage by stage."""
    root = with_concurrency(make_repository(), "schedule_distribution", 16)
    assert "note:" not in qetl_check(root).stdout
    replace(root / "config" / "local.yml", "qualtrics:\n", "qualtrics:\n  share: 0.1\n")
    assert "has 300 (3,000 x qualtrics.share 0.1)" in qetl_check(root).stdout


def test_route_of_a_service_that_takes_posts_is_its_own_name(make_post_repository: Make) -> None:
    """A function whose API has another path would refuse every signature; one without an event is never started."""
    root = make_post_repository()

    def problems() -> list[str]:
        return [each for each in function_problems(root, read_workflow(root)) if "POST" in each]

    assert problems() == []
    replace(root / "services" / "receive_post" / "function.yml", "path: /receive_post", "path: /post")
    assert problems() == [
        (
            "services/receive_post/function.yml:9: it has no event for POSTs: nothing would start it. Add"
            " `- httpApi: {method: POST, path: /receive_post}` to `events`."
        )
    ]


def test_stage_without_its_block_for_posts_is_told(make_post_repository: Make) -> None:
    """A workflow that takes POSTs needs to be told how, in each stage that is filled in."""
    root = make_post_repository()
    replace(root / "config" / "local.yml", "post:\n  replay_window_seconds: 300\n", "")
    assert (
        "error: config/local.yml has no `post`, which receive_post needs."
        " Write `replay_window_seconds: 300` below `post:`." in qetl_check(root).stderr.splitlines()
    )
