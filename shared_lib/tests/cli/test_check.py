"""`qetl check`: what disagrees is found here, not in a queue."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Make = Callable[..., Path]


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
    path.write_text(path.read_text().partition("    - schedule:")[0])
    return (
        "error: services/fetch_sftp_file/function.yml:9: it has no event for the service's schedule: nothing would"
        " start it. Add `- schedule: {rate: ['${file(workflow.yml):services.fetch_sftp_file.schedule}']}` to `events`."
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
    workflow = yaml.safe_load((root / "workflow.yml").read_text())
    workflow["services"]["parse_file"]["settings"] = {"delimeter": ";"}
    (root / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False))
    return (
        "error: The settings of parse_file can't be used: `delimeter` is not a setting that is known here."
        " See workflow.yml (services.parse_file.settings) or config/local.yml (services.parse_file)."
        " Lines: workflow.yml:28.\n"
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
        break_no_handler,
        break_settings,
        break_workflow_settings,
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
