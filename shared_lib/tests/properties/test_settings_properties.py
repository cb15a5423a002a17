"""Settings files, for any text and any structure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.settings import StageConfig, check, read_config, step_settings
from qualtrics_etl.steps.import_contacts import ImportContactsSettings
from qualtrics_etl.workflow import Workflow, read_workflow
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

from .strategies import json_values, outcome, texts

PIECES = (
    "a",
    "b:",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "*a",
    "&a ",
    "!!int ",
    "!!x",
    "[",
    "]",
    "{",
    "}",
    "'",
    '"',
    "? ",
    "<<: ",
    "|",
    "\t",
    "#",
    "2026-02-31",
    "~",
    "\0",
    "é",
    "---\n",
    "%",
)
yaml_texts = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | texts
CONFIG: Mapping[str, object] = {
    "stage": "dev",
    "aws_account_id": "000000000000",
    "aws_region": "eu-west-1",
    "alarm_email": "on-call@client.example",
    "qualtrics": {"datacenter": "fra1", "directory_id": "POOL_ExampleDirector"},
    "sftp": {"host": "h", "port": 22, "user": "u", "host_key": "k"},
    "services": {"import_contacts": {"look_after_seconds": 5}},
}
SERVICE: Mapping[str, object] = {
    "kind": "fetch_sftp_file",
    "timeout_seconds": 60,
    "memory_mb": 256,
    "concurrency": 2,
    "batch_size": 1,
    "max_receive_count": 3,
    "schedule": "rate(15 minutes)",
}
WORKFLOW: Mapping[str, object] = {"name": "acme-etl", "chains": {"c": ["fetch"]}, "services": {"fetch": SERVICE}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository's folder, written anew by each example."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "config").mkdir()
    return folder


def refused(error: ConfigurationError, file: str) -> bool:
    """Whether an error names the file and is no longer than a screen."""
    return file in str(error) and len(str(error)) < 4_000


def changed(data: st.DataObject, content: Mapping[str, object], value: object) -> dict[str, object]:
    """Put a value somewhere into a structure."""
    copy = dict(content)
    key = data.draw(st.sampled_from([*copy, "shell"]))
    inner = copy.get(key)
    copy[key] = changed(data, inner, value) if isinstance(inner, dict) and data.draw(st.booleans()) else value
    return copy


@given(text=yaml_texts)
def test_any_text_is_read_or_refused(root: Path, text: str) -> None:
    """Whatever stands in a settings file, it is YAML with a line for each value, or refused by the file's name."""
    path = root / "any.yml"
    path.write_text(text, encoding="utf-8")
    file = outcome(lambda: read_yaml(path), ConfigurationError)
    if isinstance(file, ConfigurationError):
        assert refused(file, "any.yml")
    else:
        assert all(1 <= line <= text.count("\n") + text.count("\r") + 2 for line in file.lines.values())


@given(data=st.data(), value=json_values)
def test_any_value_in_a_stage_is_taken_or_refused(root: Path, data: st.DataObject, value: object) -> None:
    """A stage's config with any value anywhere is read as it is written, or refused with file and line."""
    content = changed(data, CONFIG, value)
    (root / "config" / "dev.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    config = outcome(lambda: read_config(root, "dev"), ConfigurationError)
    if isinstance(config, ConfigurationError):
        assert refused(config, "dev.yml")
    else:
        assert config.model_dump(exclude_unset=True) == content


@given(data=st.data(), value=json_values)
def test_any_value_in_a_workflow_is_taken_or_refused(root: Path, data: st.DataObject, value: object) -> None:
    """A workflow with any value anywhere is one that works, or refused with file and remedy."""
    content = changed(data, WORKFLOW, value)
    (root / "workflow.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    workflow = outcome(lambda: read_workflow(root), ConfigurationError)
    if isinstance(workflow, ConfigurationError):
        assert refused(workflow, "workflow.yml")
    else:
        assert isinstance(workflow, Workflow)
        assert {name for chain in workflow.chains.values() for name in chain} == set(workflow.services)


@given(told=st.dictionaries(st.sampled_from(["look_after_seconds", "max_wait_seconds", "shell"]), json_values))
def test_any_setting_of_a_service_is_taken_or_refused(told: Mapping[str, object]) -> None:
    """What a service is told fits its settings, or the error names the setting and where it may stand."""
    config = check(StageConfig, dict(CONFIG), YamlFile(Path("config/dev.yml"), CONFIG, {}))
    taken = outcome(lambda: step_settings(ImportContactsSettings, "import_contacts", told, config), ConfigurationError)
    if isinstance(taken, ConfigurationError):
        assert "import_contacts" in taken.what
        assert "config/dev.yml" in taken.remedy
    else:
        assert taken.look_after_seconds == 5
