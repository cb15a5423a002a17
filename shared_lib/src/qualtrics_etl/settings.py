"""What a stage and a service are told: typed, read and checked once, at cold start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

# Prefix and 15 letters or digits. Observed: in clients that assert the lengths of ids.
DirectoryId = Annotated[str, StringConstraints(pattern=r"^POOL_[0-9A-Za-z]{15}$")]
SurveyId = Annotated[str, StringConstraints(pattern=r"^SV_[0-9A-Za-z]{15}$")]
LibraryId = Annotated[str, StringConstraints(pattern=r"^(UR|GR)_[0-9A-Za-z]{15}$")]
MessageId = Annotated[str, StringConstraints(pattern=r"^MS_[0-9A-Za-z]{15}$")]
GithubId = Annotated[str, StringConstraints(pattern=r"^[0-9]+$")]
EmailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]


class Settings(BaseModel):
    """The root of all settings: frozen, and a key that nobody knows is an error, not a silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class QualtricsSettings(Settings):
    """How to reach Qualtrics.

    Attributes:
        datacenter: The part before `.qualtrics.com`, for example `fra1`.
        directory_id: The XM Directory whose mailing lists are used.
        base_url: Another address in the place of `https://<datacenter>.qualtrics.com`; for a simulator.
        auth: `api_token` (secret `qualtrics_api_token`) or `oauth` (secrets `qualtrics_client_id` and
            `qualtrics_client_secret`).
        share: Which part of the brand's limits (requests a minute) this stage may use. All of it, unless told: a
            brand's other users are not known here, and a refusal costs a look, no work.
    """

    datacenter: Annotated[str, StringConstraints(pattern=r"^([a-z0-9-]+\.)?[a-z]{2,6}\d?$")]
    directory_id: DirectoryId
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")] | None = None
    auth: Literal["api_token", "oauth"] = "api_token"
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class SftpSettings(Settings):
    """How to reach the client's SFTP server.

    Attributes:
        host_key: The server's public key, one or more lines in OpenSSH form; nothing else is trusted.
        auth: `private_key` (secret `sftp_private_key`) or `password` (secret `sftp_password`).
    """

    host: Annotated[str, StringConstraints(min_length=1, pattern=r"^\S+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: Annotated[str, StringConstraints(min_length=1)]
    host_key: Annotated[str, StringConstraints(min_length=1)]
    auth: Literal["private_key", "password"] = "private_key"


class PostSettings(Settings):
    """How clients' POSTs are received (secret `post_signing_secret`).

    Attributes:
        replay_window_seconds: How far the time of a signature may lie from ours, either way.
    """

    replay_window_seconds: Annotated[int, Field(ge=30, le=900)] = 300


class CiSettings(Settings):
    """Whose pipelines may deploy into the stage's account.

    Attributes:
        host: Where they run.
        repository: `owner/name`; on GitLab there may be groups between the two. It goes into the condition of a
            role's trust policy, so it holds no wildcard.
        branch: The only one that may deploy; it goes there too.
        owner_id: GitHub's number of the owner; empty only where tokens do not have it.
        repository_id: GitHub's number of the repository; with `owner_id` or not at all. Source: GitHub changelog of
            2026-04-23, immutable subject claims (repositories created, renamed or moved since 2026-07-15).
    """

    host: Literal["github", "gitlab"]
    repository: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$")]
    branch: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = "main"
    owner_id: GithubId = ""
    repository_id: GithubId = ""

    @model_validator(mode="after")
    def _ids_are_a_pair_of_github_s(self) -> Self:
        if bool(self.owner_id) != bool(self.repository_id):
            raise ValueError("owner_id and repository_id are given together or not at all")
        if self.owner_id and self.host != "github":
            raise ValueError("owner_id and repository_id are GitHub's: delete both")
        return self


class StageConfig(Settings):
    """One `config/<stage>.yml`.

    Attributes:
        ci: Whose pipelines may deploy here; None where only people do.
        services: What this stage tells a service beyond, or other than, workflow.yml; by service.
    """

    stage: Literal["local", "dev", "staging", "prod"]
    aws_account_id: Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
    aws_region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    alarm_email: EmailAddress
    qualtrics: QualtricsSettings
    sftp: SftpSettings | None = None
    post: PostSettings | None = None
    ci: CiSettings | None = None
    services: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)


class StepSettings(Settings):
    """The root of what one kind of step is told; each step has a subclass named `Settings`."""


ModelT = TypeVar("ModelT", bound=Settings)


def read_config(root: Path, stage: str) -> StageConfig:
    """Read and check `config/<stage>.yml` of a generated repository.

    Raises:
        ConfigurationError: All that is wrong with it, each with its line.
    """
    known = sorted(file.stem for file in (root / "config").glob("*.yml"))
    if known and stage not in known:
        raise ConfigurationError(
            f"There is no stage {stage!r}: config/ has no such file.", remedy=f"Stages here: {', '.join(known)}."
        )
    file = read_yaml(root / "config" / f"{stage}.yml")
    config = check(StageConfig, file.data or {}, file)
    if config.stage != stage:
        raise ConfigurationError(
            f"config/{stage}.yml:{file.line_of('stage')}: it says it is for stage `{config.stage}`.",
            remedy=f"Write `stage: {stage}`.",
        )
    return config


def unfilled(file: YamlFile) -> list[str]:
    """Return the dotted names of values that are still to be filled in (left empty), in file order."""
    found: list[str] = []

    def look(value: object, path: tuple[str, ...]) -> None:
        if value is None:
            found.append(".".join(path))
        elif isinstance(value, dict):
            for key, inner in value.items():
                look(inner, (*path, str(key)))

    look(file.data, ())
    return found


def step_settings(model: type[ModelT], service: str, from_workflow: Mapping[str, Any], config: StageConfig) -> ModelT:
    """Merge what workflow.yml and the stage's config tell a service, the config winning, and check it.

    Raises:
        ConfigurationError: A setting is missing, unknown or wrong; names it and where it may stand.
    """
    merged = {**from_workflow, **config.services.get(service, {})}
    try:
        return model.model_validate(merged)
    except ValidationError as exc:
        where = f"workflow.yml (services.{service}.settings) or config/{config.stage}.yml (services.{service})"
        problems = "; ".join(problem(error) for error in exc.errors(include_url=False, include_context=False))
        raise ConfigurationError(
            f"The settings of {service} can't be used: {problems}.", remedy=f"See {where}."
        ) from exc


def check(model: type[ModelT], data: object, file: YamlFile) -> ModelT:
    """Check the content of a file against a model.

    Raises:
        ConfigurationError: All problems, each with its line.
    """
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        name = f"{file.path.parent.name}/{file.path.name}"
        problems = [
            f"{name}:{file.line_of(*error['loc'])}: {problem(error)}"
            for error in exc.errors(include_url=False, include_context=False)
        ]
        raise ConfigurationError("\n".join(problems)) from exc


def problem(error: Mapping[str, Any]) -> str:
    """Say one validation problem in a sentence: which setting, what is wrong, what it holds."""
    name = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "missing":
            return f"`{name}` is missing"
        case "extra_forbidden":
            return f"`{name}` is not a setting that is known here"
    if error.get("input") is None:
        return f"`{name}` is not filled in yet"
    return f"`{name}` is {error['input']!r:.60}: {_lower(error['msg'])}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
