"""What a plan would lose: messages that wait in a queue, secrets, and whatever lies in a bucket."""

from __future__ import annotations

from collections.abc import Iterable

from qualtrics_etl.aws.parameters import secret_versions
from qualtrics_etl.aws.queues import SqsQueue
from qualtrics_etl.deployment.changes import Change, Changes
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.errors import ConfigurationError

QUEUE = "aws_sqs_queue"
BUCKET = "aws_s3_bucket"
PARAMETER = "aws_ssm_parameter"


def refuse_losses(stage: Stage, changes: Changes, *, discard_messages: bool) -> None:
    """Refuse a plan that deletes a bucket, a secret that somebody set, or a queue that is not empty.

    Args:
        stage: Whose.
        changes: What the plan would do.
        discard_messages: Whether queues may be deleted while messages wait in them.

    Raises:
        ConfigurationError: Names the bucket, the secrets, or each queue and how much waits there.
    """
    gone = list(changes.of("delete", "replace"))
    for each in gone:
        if each.kind == BUCKET:
            raise ConfigurationError(
                f"The plan would delete the bucket {each.before.get('bucket')}; nothing was changed.",
                remedy="Its name is made of `name` in workflow.yml, stage and account: restore what changed.",
            )
    # On this machine the library sets secrets by itself, again and again.
    if not stage.is_local:
        _refuse_secrets(stage, [each for each in gone if each.kind == PARAMETER])
    full = [] if discard_messages else list(_full(stage, [each for each in gone if each.kind == QUEUE]))
    if full:
        lines = "\n".join(full)
        raise ConfigurationError(
            f"The plan would delete queues that are not empty; nothing was changed:\n{lines}\n",
            remedy=(
                "Let the service finish what waits (dead letters: mend the cause, then `make redrive`), then deploy"
                f" again; or lose them: {stage.make('deploy', DISCARD_MESSAGES='1')}, which is `--discard-messages`."
            ),
        )


def _refuse_secrets(stage: Stage, parameters: Iterable[Change]) -> None:
    names = [
        str(each.before["name"]).removeprefix(f"{stage.parameters}/")
        for each in parameters
        if each.before.get("type") == "SecureString"
    ]
    versions = secret_versions(stage.access, stage.parameters, names) if names else {}
    somebodys = [f"{stage.parameters}/{name}" for name, version in versions.items() if version > 1]
    if somebodys:
        raise ConfigurationError(
            f"The plan would delete secrets that somebody set, and no setting of stage {stage.name} asks for any more:"
            f" {', '.join(somebodys)}. Nothing was changed.",
            remedy=(
                f"Put the login back in {stage.config_file}; or delete them yourself, `aws ssm delete-parameters"
                f" --region {stage.access.region} --names {' '.join(somebodys)}`, and run {stage.make('bootstrap')}"
                " again."
            ),
        )


def _full(stage: Stage, queues: Iterable[Change]) -> Iterable[str]:
    for each in queues:
        counts = SqsQueue(each.before["id"], stage.access.client("sqs")).counts()
        if counts.visible or counts.in_flight or counts.delayed:
            waits = f"{counts.visible} waiting, {counts.in_flight} in flight, {counts.delayed} delayed"
            yield f"  {each.before['name']}: {waits}"
