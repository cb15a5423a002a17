"""Settings: typed, read once, and wrong in words that say where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.settings import StepSettings, read_config, step_settings, unfilled
from qualtrics_etl.yaml_lines import read_yaml

CONFIG = """\
stage: dev
aws_account_id: "111122223333"
aws_region: eu-west-1
alarm_email: on-call@client.example
qualtrics:
  datacenter: fra1
  directory_id: POOL_0123456789abcde
sftp:
  host: sftp.client.example
  user: etl
  host_key: ssh-ed25519 AAAA
services:
  sample:
    size: 3
"""


class SampleSettings(StepSettings):
    """Two settings, one of which must be given."""

    size: int
    name: str = "sample"


def write(folder: Path, text: str, name: str = "dev") -> Path:
    """Write config/<name>.yml into a folder; return the folder."""
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / f"{name}.yml").write_text(text, encoding="utf-8")
    return folder


def error_of(folder: Path, stage: str = "dev") -> str:
    """Return the text of the error that reading the stage's config raises."""
    with pytest.raises(ConfigurationError) as caught:
        read_config(folder, stage)
    return str(caught.value)


def test_complete_config_is_read(tmp_path: Path) -> None:
    """A filled-in file becomes typed settings with the defaults filled in."""
    config = read_config(write(tmp_path, CONFIG), "dev")
    assert (config.qualtrics.auth, config.sftp and config.sftp.port) == ("api_token", 22)


@pytest.mark.parametrize(
    ("share", "taken"), [("1", True), ("0.05", True), ("0", False), ("1.01", False), ("-1", False)]
)
def test_share_is_a_part_of_the_limits(tmp_path: Path, share: str, taken: bool) -> None:
    """More than all is not ours, and of nothing no message would ever come to its end."""
    folder = write(tmp_path, CONFIG.replace("qualtrics:\n", f"qualtrics:\n  share: {share}\n"))
    if taken:
        assert read_config(folder, "dev").qualtrics.share == float(share)
    else:
        assert error_of(folder).startswith("config/dev.yml:6: `qualtrics.share` is ")


@pytest.mark.parametrize(
    ("repository", "taken"),
    [
        ("acme/etl", True),
        ("group/sub-group/acme.etl", True),
        ("acme", False),
        ("acme/*", False),
        ("acme/etl:environment:prod", False),
        ("https://github.com/acme/etl", False),
    ],
)
def test_pipelines_of_one_repository_may_deploy(tmp_path: Path, repository: str, taken: bool) -> None:
    """The repository goes into a role's trust policy: a name, and nothing that means more than one."""
    folder = write(tmp_path, f"{CONFIG}ci:\n  host: github\n  repository: {repository}\n")
    if taken:
        found = read_config(folder, "dev").ci
        assert (found and found.host, found and found.repository) == ("github", repository)
    else:
        assert error_of(folder).startswith(f"config/dev.yml:17: `ci.repository` is '{repository}'")


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ("host: github", ""),
        ('host: github\n  owner_id: "12"\n  repository_id: "0345"\n  branch: release/2026', ""),
        ("host: gitlab\n  branch: master", ""),
        ("host: github\n  owner_id:\n  repository_id:", "config/dev.yml:18: `ci.owner_id` is not filled in yet"),
        ('host: github\n  owner_id: 12\n  repository_id: "34"', "`ci.owner_id` is 12: input should be a valid string"),
        ('host: github\n  owner_id: "1*"\n  repository_id: "34"', "`ci.owner_id` is '1*'"),
        ('host: github\n  owner_id: "12"', "owner_id and repository_id are given together or not at all"),
        ('host: gitlab\n  owner_id: "12"\n  repository_id: "34"', "are GitHub's: delete both"),
        ('host: github\n  branch: "*"', "`ci.branch` is '*'"),
        ("host: github\n  branch: main:x", "`ci.branch` is 'main:x'"),
    ],
)
def test_pipelines_are_those_of_one_branch_and_known_by_number(tmp_path: Path, lines: str, wrong: str) -> None:
    """GitHub's numbers come in a pair; left empty they are to be filled in, and left out they are not needed."""
    folder = write(tmp_path, f"{CONFIG}ci:\n  repository: acme/etl\n  {lines}\n")
    if wrong:
        assert wrong in error_of(folder)
    else:
        found = read_config(folder, "dev").ci
        assert found
        assert (found.branch == "main", bool(found.owner_id)) == ("branch" not in lines, "owner_id" in lines)


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    """One look at the message is enough to mend the file: all problems, each with file, line and name."""
    text = CONFIG.replace("POOL_0123456789abcde", "POOL_short").replace("  user: etl\n", "").replace("fra1", "FRA")
    assert error_of(write(tmp_path, text)) == (
        "config/dev.yml:6: `qualtrics.datacenter` is 'FRA': string should match pattern"
        " '^([a-z0-9-]+\\.)?[a-z]{2,6}\\d?$'\n"
        "config/dev.yml:7: `qualtrics.directory_id` is 'POOL_short': string should match pattern"
        " '^POOL_[0-9A-Za-z]{15}$'\n"
        "config/dev.yml:8: `sftp.user` is missing"
    )


def test_unknown_setting_is_an_error_not_a_silence(tmp_path: Path) -> None:
    """A misspelt name would otherwise leave the default in force."""
    assert error_of(write(tmp_path, CONFIG + "alarm_mail: x@client.example\n")) == (
        "config/dev.yml:15: `alarm_mail` is not a setting that is known here"
    )


def test_empty_value_is_told_as_not_filled_in(tmp_path: Path) -> None:
    """What the template leaves open is named as such, not as a type error."""
    folder = write(tmp_path, CONFIG.replace("POOL_0123456789abcde", ""))
    assert error_of(folder) == "config/dev.yml:7: `qualtrics.directory_id` is not filled in yet"
    assert unfilled(read_yaml(folder / "config" / "dev.yml")) == ["qualtrics.directory_id"]


def test_config_of_another_stage_is_refused(tmp_path: Path) -> None:
    """A copied file that still says another stage would deploy with that stage's settings."""
    assert error_of(write(tmp_path, CONFIG, "prod"), "prod") == (
        "config/prod.yml:1: it says it is for stage `dev`. Write `stage: prod`."
    )


def test_missing_file_says_where_to_be(tmp_path: Path) -> None:
    """Outside a generated repository the error says so."""
    assert error_of(tmp_path) == (
        f"dev.yml: there is no such file at {tmp_path / 'config'}. Run the command in the folder of a generated"
        " repository."
    )


def test_key_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    """YAML would silently take the last one."""
    assert error_of(write(tmp_path, CONFIG + "stage: dev\n")) == (
        "dev.yml:15: `stage` is given twice (first at line 1). Keep one of them."
    )


def test_stage_wins_over_workflow(tmp_path: Path) -> None:
    """What config/<stage>.yml says of a service comes over what workflow.yml says."""
    config = read_config(write(tmp_path, CONFIG), "dev")
    merged = step_settings(SampleSettings, "sample", {"size": 1, "name": "own"}, config)
    assert merged == SampleSettings(size=3, name="own")


def test_wrong_step_setting_names_both_places(tmp_path: Path) -> None:
    """The reader is told the setting, what is wrong, and the two places where it may stand."""
    config = read_config(write(tmp_path, CONFIG), "dev")
    with pytest.raises(ConfigurationError) as caught:
        step_settings(SampleSettings, "sample", {"color": "red", "name": 7}, config)
    assert str(caught.value) == (
        "The settings of sample can't be used: `name` is 7: input should be a valid string; `color` is not a setting"
        " that is known here. See workflow.yml (services.sample.settings) or config/dev.yml (services.sample)."
    )


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object:os.system x", "\x00", "a: b: c"])
def test_what_is_not_yaml_is_told(tmp_path: Path, text: str) -> None:
    """Broken or dangerous YAML is a configuration error, not a traceback."""
    assert "is not valid YAML" in error_of(write(tmp_path, text))
