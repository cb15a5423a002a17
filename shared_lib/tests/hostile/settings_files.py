"""workflow.yml and config/<stage>.yml as nobody should write them. Expected: file, line where there is one, remedy."""

from __future__ import annotations

import yaml

from qualtrics_etl.errors import ConfigurationError, WorkflowError
from qualtrics_etl.settings import read_config
from qualtrics_etl.workflow import read_workflow

from .case import Act, Arena, Case

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
CONFIG = {
    "stage": "dev",
    "aws_account_id": "000000000000",
    "aws_region": "eu-west-1",
    "alarm_email": "on-call@client.example",
    "qualtrics": {"datacenter": "fra1", "directory_id": "POOL_ExampleDirector"},
}
SERVICE = {
    "kind": "parse_file",
    "timeout_seconds": 1,
    "memory_mb": 128,
    "concurrency": 2,
    "batch_size": 1,
    "max_receive_count": 2,
}


def workflow(content: str | bytes) -> Act:
    """Read a workflow.yml."""

    def act(arena: Arena) -> object:
        data = content.encode() if isinstance(content, str) else content
        (arena.folder / "workflow.yml").write_bytes(data)
        return read_workflow(arena.folder)

    return act


def config(**fields: object) -> Act:
    """Read a config/dev.yml with other fields."""

    def act(arena: Arena) -> object:
        (arena.folder / "config").mkdir()
        (arena.folder / "config" / "dev.yml").write_text(yaml.safe_dump(CONFIG | fields), encoding="utf-8")
        return read_config(arena.folder, "dev")

    return act


def folder(arena: Arena) -> object:
    """Put a folder in the place of the file."""
    (arena.folder / "workflow.yml").mkdir()
    return read_workflow(arena.folder)


def nothing(arena: Arena) -> object:
    """Read where there is no file."""
    return read_workflow(arena.folder)


def refused(name: str, content: str | bytes, *says: str) -> Case:
    """Return a workflow.yml that can't be read."""
    return Case(name, workflow(content), ConfigurationError, ("workflow.yml", *says))


def wrong(name: str, fault: str, **fields: object) -> Case:
    """Return a config/dev.yml with a wrong value."""
    return Case(name, config(**fields), ConfigurationError, ("config/dev.yml:", fault), needs_remedy=False)


MANY = {f"s{number}": SERVICE for number in range(3_000)}

CASES = [
    refused("yaml_of_aliases_that_multiply", BOMB, "50,000 values", "*name"),
    refused("yaml_of_merges_that_multiply", MERGE_BOMB, "50,000 values"),
    refused("yaml_that_holds_itself", "a: &a [*a]", "nested more than 50"),
    refused("yaml_nested_deep", "[" * 100_000, "nested more than 50"),
    refused("yaml_tag_of_python", "name: !!python/object/apply:os.system [id]", "workflow.yml:1", "python"),
    refused("yaml_tag_unknown", "name: !vault x", "workflow.yml:1", "!vault"),
    refused("yaml_number_that_is_none", "name: !!int abc", "not what it seems", "quotes"),
    refused("yaml_truth_that_is_none", "name: !!bool maybe", "not what it seems"),
    refused("yaml_date_that_does_not_exist", "name: 2026-02-31", "not what it seems", "quotes"),
    refused("yaml_number_of_10_000_digits", "name: " + "9" * 10_000, "not what it seems"),
    refused("yaml_key_twice", "name: a\nchains: {}\nname: b\n", "workflow.yml:3", "`name` is given twice", "line 1"),
    refused("yaml_key_of_10_000_letters_twice", ("? " + "k" * 10_000 + "\n: 1\n") * 2, "is given twice"),
    refused("yaml_key_list", "? [a, b]\n: 1\n", "workflow.yml:1", "a key is a list"),
    refused("yaml_two_documents", "name: a\n---\nname: b\n", "workflow.yml:"),
    refused("yaml_nul", "name: a\0b\n", "not valid YAML"),
    refused("yaml_tab", "name:\n\tx: 1\n", "workflow.yml:2"),
    refused("yaml_not_utf8", "name: Zoë\n".encode("latin-1"), "not UTF-8"),
    refused("yaml_of_megabytes", "name: " + "x" * 3_000_000, "1,000,000 bytes"),
    refused("yaml_binary", bytes(range(256)), "workflow.yml"),
    Case("yaml_folder", folder, ConfigurationError, ("workflow.yml", "can't be read")),
    Case("yaml_missing", nothing, ConfigurationError, ("workflow.yml", "no such file")),
    Case("workflow_empty", workflow(""), WorkflowError, ("workflow.yml", "`name` is missing")),
    Case("workflow_list", workflow("- a\n- b\n"), WorkflowError, ("workflow.yml:1",)),
    Case(
        "workflow_of_3_000_services",
        workflow(yaml.safe_dump({"name": "acme-etl", "chains": {"c": list(MANY)}, "services": MANY})),
        WorkflowError,
        ("workflow.yml", "at most 100"),
    ),
    Case(
        "workflow_name_path_traversal",
        workflow("name: ../../x\nchains: {c: [a]}\nservices: {a: {}}\n"),
        WorkflowError,
        ("workflow.yml:1", "`name`"),
    ),
    Case(
        "workflow_service_path_traversal",
        workflow("name: acme-etl\nchains: {c: [../x]}\nservices: {../x: {}}\n"),
        WorkflowError,
        ("workflow.yml:2", "../x"),
    ),
    wrong(
        "config_base_url_with_credentials_path",
        "`qualtrics.base_url`",
        qualtrics=CONFIG["qualtrics"] | {"base_url": "file:///etc/passwd"},
    ),  # type: ignore[operator]
    wrong(
        "config_datacenter_elsewhere",
        "`qualtrics.datacenter`",
        qualtrics=CONFIG["qualtrics"] | {"datacenter": "evil.example/"},
    ),  # type: ignore[operator]
    wrong("config_account_number", "`aws_account_id`", aws_account_id=123),
    wrong("config_region_list", "`aws_region`", aws_region=["eu-west-1"]),
    wrong("config_email_with_a_newline", "`alarm_email`", alarm_email="a@b.example\nBcc: c@d.example"),
    wrong("config_unknown_key", "`shell` is not a setting", shell="id"),
    wrong("config_key_of_10_000_letters", "is not a setting", **{"k" * 900: 1}),
    wrong("config_ci_repository_wildcard", "`ci.repository`", ci={"host": "github", "repository": "acme/*"}),
    wrong("config_port_out_of_range", "`sftp.port`", sftp={"host": "h", "port": 70_000, "user": "u", "host_key": "k"}),
    wrong("config_value_nan", "`sftp.port`", sftp={"host": "h", "port": float("nan"), "user": "u", "host_key": "k"}),
    wrong("config_services_list", "`services`", services=[]),
]
