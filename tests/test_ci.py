"""CI of a generated repository: what its jobs may do, in which order stages follow, and that `make` does the work."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import Bake

from qualtrics_etl.aws.oidc import ISSUERS
from qualtrics_etl.cli.stages import Stage, outputs
from qualtrics_etl.deployment.plan import COMMENT_BYTES, as_markdown
from qualtrics_etl.settings import StageConfig

STAGES = ("dev", "staging", "prod")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
WORKFLOWS = ("checks", "ci", "deploy", "nightly", "unlock")
CHECKS = "./.github/workflows/checks.yml"
OUTPUT = re.compile(r"(?:steps\.stages|needs\.package)\.outputs\.(\w+)")
OUTPUT_OF_INPUT = re.compile(r"steps\.stages\.outputs\[(?:format\('\{0\}(\w+)', )?inputs\.stage\)?\]")
NEVER_AT_NIGHT = {"if": '$CI_PIPELINE_SOURCE == "schedule"', "when": "never"}
Jobs = dict[str, dict[str, Any]]


def told_by_stages(stage: str) -> list[str]:
    """Return the lines that `qetl stages --github` writes of a stage that is filled in."""
    config = StageConfig.model_validate(
        {
            "stage": stage,
            "aws_account_id": "123456789012",
            "aws_region": "eu-west-1",
            "alarm_email": "on-call@client.example",
            "qualtrics": {"datacenter": "fra1", "directory_id": "POOL_ExampleDirector"},
        }
    )
    return list(outputs("acme-etl", Stage(name=stage, data={}, config=config, empty=())))


@pytest.fixture
def github(baked: Bake) -> Path:
    """The folder `.github` of a repository."""
    return baked() / ".github"


@pytest.fixture
def workflow(github: Path) -> Callable[[str], dict[Any, Any]]:
    """Read one of GitHub's workflows."""

    def read(name: str) -> dict[Any, Any]:
        content: dict[Any, Any] = yaml.safe_load((github / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
        return content

    return read


@pytest.fixture
def jobs(workflow: Callable[[str], dict[Any, Any]]) -> Jobs:
    """Every job of GitHub's workflows that has steps, by workflow and name."""
    every = {f"{name}/{job}": content for name in WORKFLOWS for job, content in workflow(name)["jobs"].items()}
    return {name: job for name, job in every.items() if "steps" in job}


def test_actions_are_pinned(github: Path) -> None:
    """Every action from elsewhere is named by its full commit id, with the version beside it; an action has one."""
    used = [
        line
        for path in sorted(github.rglob("*.yml"))
        for line in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
        if line not in ("./.github/actions/tools", CHECKS)
    ]
    assert [line for line in used if not PINNED.fullmatch(line)] == []
    assert len({line.split("@")[0] for line in used}) == len(set(used)) == 7


def test_jobs_only_call_make(jobs: Jobs) -> None:
    """What a job does is in the Makefile, where it can be done by hand; only the comment is GitHub's own affair."""
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    (comment,) = commands.pop("ci/comment")
    assert "make" not in comment
    assert [
        each
        for own in commands.values()
        for each in own
        if not re.fullmatch(r'make [a-z0-9-]+( STAGE="\$STAGE")?( \w+=\w+)*', each)
    ] == []
    assert {name: own[-1] for name, own in commands.items()} == {
        "checks/test": "make test",
        "checks/scan": "make scan",
        "checks/e2e": "make e2e",
        "ci/plan": "make plan STAGE=dev",
        "deploy/package": "make package",
        **{f"deploy/{stage}": f"make deploy STAGE={stage} PREBUILT=1 YES=1" for stage in STAGES},
        **{f"nightly/drift-{stage}": f"make drift STAGE={stage}" for stage in STAGES},
        "nightly/template": "make template-check",
        "unlock/unlock": 'make unlock STAGE="$STAGE" YES=1',
    }


def test_jobs_may_only_do_what_they_need(workflow: Callable[[str], dict[Any, Any]], jobs: Jobs) -> None:
    """A workflow may do nothing, a job what it needs: only who takes on a role gets a token for that."""
    assert [workflow(name)["permissions"] for name in WORKFLOWS] == [{}] * len(WORKFLOWS)
    assumes = {
        name for name, job in jobs.items() if any("role-to-assume" in step.get("with", {}) for step in job["steps"])
    }
    expected = {name: {"contents": "read"} | ({"id-token": "write"} if name in assumes else {}) for name in jobs}
    assert {name: job["permissions"] for name, job in jobs.items()} == expected | {
        "ci/comment": {"pull-requests": "write"}
    }
    deploying = {"unlock/unlock", *(f"deploy/{stage}" for stage in STAGES)}
    assert assumes == {"ci/plan", *deploying, *(f"nightly/drift-{stage}" for stage in STAGES)}
    assert {name for name, job in jobs.items() if "environment" in job} == deploying


def test_jobs_end_and_keep_no_credentials(jobs: Jobs) -> None:
    """Every job has a time limit, and no checkout leaves a token behind for later steps."""
    assert [name for name, job in jobs.items() if not 5 <= job["timeout-minutes"] <= 45] == []
    checkouts = [s for job in jobs.values() for s in job["steps"] if s.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(jobs) - 1  # the comment is written without any of the repository's code
    assert [step for step in checkouts if step["with"]["persist-credentials"] is not False] == []


def test_no_stored_secret_is_used(baked: Bake) -> None:
    """CI holds no credentials: roles are taken on for as long as a job runs."""
    texts = [path.read_text(encoding="utf-8") for path in (baked() / ".github").rglob("*.yml")]
    texts.append((baked(ci="gitlab") / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    assert [text for text in texts if re.search(r"secrets\.|AWS_SECRET|AWS_ACCESS_KEY", text)] == []


def test_jobs_read_what_make_stages_says(github: Path) -> None:
    """Every output that jobs use is one that `make stages` gives of a stage."""
    given = {line.split("=")[0] for stage in STAGES for line in told_by_stages(stage)}
    for path in (github / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        of_inputs = {stage + suffix for suffix in OUTPUT_OF_INPUT.findall(text) for stage in STAGES}
        used = set(OUTPUT.findall(text)) | of_inputs
        assert bool(used) == ("role-to-assume" in text), path.name
        assert used <= given


def test_one_package_goes_from_stage_to_stage(workflow: Callable[[str], dict[Any, Any]]) -> None:
    """What was built once is deployed to dev, staging, prod, one after the other, and never cut off."""
    jobs = workflow("deploy")["jobs"]
    assert [(name, job.get("needs")) for name, job in jobs.items()] == [
        ("checks", None),
        ("package", None),
        ("dev", ["checks", "package"]),
        ("staging", ["checks", "package", "dev"]),
        ("prod", ["checks", "package", "dev", "staging"]),
    ]
    (upload,) = (step["with"] for step in jobs["package"]["steps"] if "upload-artifact" in step.get("uses", ""))
    for stage in STAGES:
        job = jobs[stage]
        (download,) = (step["with"] for step in job["steps"] if "download-artifact" in step.get("uses", ""))
        assert (download["name"], download["path"]) == (upload["name"], upload["path"])
        assert job["environment"] == stage
        assert job["concurrency"] == {"group": f"deploy-{stage}", "cancel-in-progress": False}
        assert f"needs.package.outputs.{stage} == 'true'" in job["if"]
    assert upload["name"] == "aws-${{ github.sha }}"
    assert upload["path"] == "build/aws"


def test_stage_is_held_up_by_failure_and_not_by_gaps(workflow: Callable[[str], dict[Any, Any]]) -> None:
    """A later stage is deployed although an earlier one is not filled in, but not after one that failed or gave way."""
    jobs = workflow("deploy")["jobs"]
    for stage, earlier in (("staging", ["dev"]), ("prod", ["dev", "staging"])):
        terms = jobs[stage]["if"].removeprefix("${{ ").removesuffix(" }}").split(" && ")
        assert terms[:3] == ["!cancelled()", "!failure()", "needs.checks.result == 'success'"]
        assert terms[3:-1] == [f"needs.{each}.result != 'cancelled'" for each in earlier]


def test_red_commit_is_not_deployed(workflow: Callable[[str], dict[Any, Any]]) -> None:
    """Tests, scan and e2e are the same jobs before a merge and before a deploy, and the first stage waits for them."""
    assert (set(workflow("checks")[True]), set(workflow("checks")["jobs"])) == (
        {"workflow_call"},  # nothing else starts it, so a commit on main is checked once
        {"test", "scan", "e2e"},
    )
    assert (set(workflow("ci")[True]), workflow("deploy")[True]) == ({"pull_request"}, {"push": {"branches": ["main"]}})
    called = {"uses": CHECKS, "permissions": {"contents": "read"}}
    assert workflow("ci")["jobs"]["checks"] == called
    deploy = workflow("deploy")["jobs"]
    assert deploy["checks"] == called | {"concurrency": {"group": "checks-of-main", "cancel-in-progress": False}}
    # Without a word of its own on failure, a job waits for success of all that it needs.
    assert not re.search(r"(always|cancelled|failure)\(", deploy["dev"]["if"])
    assert "checks" in deploy["dev"]["needs"]


def test_groups_of_one_run_differ(workflow: Callable[[str], dict[Any, Any]]) -> None:
    """No job waits in a group that its own run holds, also through the workflow that it calls: that is a deadlock."""
    for name in ("ci", "deploy"):
        contents = [workflow(name), *workflow(name)["jobs"].values(), workflow("checks")]
        groups = [each["concurrency"]["group"] for each in contents if "concurrency" in each]
        assert len(groups) == len(set(groups)) >= 1


def test_lock_is_removed_as_a_stage_is_deployed(workflow: Callable[[str], dict[Any, Any]]) -> None:
    """Somebody names a stage; the job is let through as a deploy there is, waits for it, and takes on the same role."""
    content = workflow("unlock")
    chosen = content[True]["workflow_dispatch"]["inputs"]["stage"]
    assert set(content[True]) == {"workflow_dispatch"}
    assert (chosen["type"], chosen["required"], chosen["options"]) == ("choice", True, list(STAGES))
    job = content["jobs"]["unlock"]
    stage = "${{ inputs.stage }}"
    assert (job["environment"], job["env"]) == (stage, {"STAGE": stage})
    assert job["concurrency"] == {"group": f"deploy-{stage}", "cancel-in-progress": False}
    (role,) = (step["with"]["role-to-assume"] for step in job["steps"] if "role-to-assume" in step.get("with", {}))
    assert role == "${{ steps.stages.outputs[format('{0}_deploy_role', inputs.stage)] }}"


def test_plan_is_for_the_repositorys_own_branches(workflow: Callable[[str], dict[Any, Any]]) -> None:
    """A pull request from a fork is tested, and gets neither role nor comment."""
    jobs = workflow("ci")["jobs"]
    assert jobs["plan"]["if"] == "${{ github.event.pull_request.head.repo.full_name == github.repository }}"
    assert (jobs["comment"]["needs"], jobs["comment"]["if"]) == ("plan", "needs.plan.outputs.planned == 'true'")


def test_only_a_comment_of_its_own_is_written_anew(workflow: Callable[[str], dict[Any, Any]]) -> None:
    """Of all comments, that of GitHub's bot with the mark at its beginning is taken; the file goes into it whole."""
    (step,) = (step for step in workflow("ci")["jobs"]["comment"]["steps"] if "run" in step)
    assert step["env"]["OURS"] == (
        '.[] | select(.user.login == "github-actions[bot]" and (.body | startswith(env.MARK))) | .id'
    )
    assert 'known=$(gh api --paginate "$COMMENTS" --jq "$OURS" | head -n 1)' in step["run"]
    assert '{ echo "$MARK"; cat plan-dev.md; } > comment.md' in step["run"]


@pytest.mark.parametrize("shift", range(4))
def test_long_plan_is_cut_between_letters(shift: int) -> None:
    """A plan that is too long for a comment is cut between two letters, and its fence is closed all the same."""
    text = "x" * shift + "\U0001f512```" + "\U0001f512" * COMMENT_BYTES
    comment = as_markdown("Plan for stage dev", text, COMMENT_BYTES)
    begin, kept, end = comment.split("```")
    assert (begin, end) == ("### Plan for stage dev\n\n", "\n")
    assert kept.endswith("\U0001f512\n... the rest stands in the job's log.\n")
    assert COMMENT_BYTES - 4 < len(kept.encode()) < len(comment.encode()) < 65_536


def test_short_plan_stays_whole() -> None:
    """A plan that fits is shown whole, letter by letter."""
    assert as_markdown("Plan", "\U0001f512 é", 6 + 1) == "### Plan\n\n```text\n\U0001f512 é\n```\n"


def test_nightly_sees_the_whole_history(workflow: Callable[[str], dict[Any, Any]]) -> None:
    """The template is compared with a full clone, every night and whenever somebody asks."""
    content = workflow("nightly")
    assert set(content[True]) == {"schedule", "workflow_dispatch"}  # YAML reads the word `on` as True
    assert content["jobs"]["template"]["steps"][0]["with"]["fetch-depth"] == 0


# --- GitLab


@pytest.fixture
def pipeline(baked: Bake) -> dict[str, Any]:
    """What .gitlab-ci.yml says."""
    content: dict[str, Any] = yaml.safe_load((baked(ci="gitlab") / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    return content


@pytest.fixture
def gitlab_jobs(pipeline: dict[str, Any]) -> Jobs:
    """GitLab's jobs, without the parts that they are made of."""
    words = ("workflow", "stages", "default", "variables")
    return {name: job for name, job in pipeline.items() if name not in words and not name.startswith(".")}


def test_gitlab_jobs_only_call_make(gitlab_jobs: Jobs) -> None:
    """What a job does is in the Makefile, as with GitHub."""
    assert {name: job["script"][-1] for name, job in gitlab_jobs.items()} == {
        "test": "make test",
        "scan": "make scan",
        "e2e": "make e2e",
        "plan": "make plan STAGE=dev",
        "package": "make package",
        **{stage: f"make deploy STAGE={stage} PREBUILT=1 YES=1" for stage in STAGES},
        "unlock": 'make unlock STAGE="$STAGE" YES=1',
        "drift": 'make drift STAGE="$STAGE"',
        "template": "make template-check",
    }
    assert [line for job in gitlab_jobs.values() for line in job["script"] if not line.startswith("make ")] == []


def test_gitlab_jobs_name_what_is_there(pipeline: dict[str, Any], gitlab_jobs: Jobs) -> None:
    """Stages, parts and jobs that a job names are defined, and what it needs is of an earlier stage."""
    order = {name: pipeline["stages"].index(job["stage"]) for name, job in gitlab_jobs.items()}
    for name, job in gitlab_jobs.items():
        assert job.get("extends", ".tools") in pipeline
        assert all(order[needed] < order[name] for needed in job.get("needs", ())), name


def test_gitlab_stages_follow_one_another(gitlab_jobs: Jobs) -> None:
    """Each stage waits for the one before, prod for a person; deploys of a stage queue up, and none is interrupted."""
    for stage in STAGES:
        job = gitlab_jobs[stage]
        assert (job["environment"], job["resource_group"], job["interruptible"]) == (stage, stage, False)
        assert job["variables"] == {"STAGE": stage, "ROLE": "deploy"}
        assert "package" in job["needs"]
        assert job["rules"][0] == NEVER_AT_NIGHT
    assert [gitlab_jobs[stage]["rules"][1].get("when") for stage in STAGES] == [None, None, "manual"]
    assert ("dev" in gitlab_jobs["staging"]["needs"], "staging" in gitlab_jobs["prod"]["needs"]) == (True, True)


def test_gitlab_lock_is_removed_as_a_stage_is_deployed(gitlab_jobs: Jobs) -> None:
    """A person starts it for one stage, when the deploys of it are through; no pipeline waits for that."""
    job = gitlab_jobs["unlock"]
    assert (job["resource_group"], job["environment"]["name"], job["variables"]) == (
        "$STAGE",
        "$STAGE",
        {"ROLE": "deploy"},
    )
    assert job["parallel"] == {"matrix": [{"STAGE": list(STAGES)}]}
    assert job["rules"] == [
        NEVER_AT_NIGHT,
        {"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", "when": "manual", "allow_failure": True},
    ]
    assert (job["needs"], job["interruptible"]) == ([], False)


def test_gitlab_runs_either_by_day_or_by_night(gitlab_jobs: Jobs) -> None:
    """A schedule runs what looks for drift and a newer template, and nothing else."""
    nightly = {"drift", "template"}
    for name, job in gitlab_jobs.items():
        scheduled = job["rules"] == [{"if": NEVER_AT_NIGHT["if"]}]
        by_day = job["rules"][0] == NEVER_AT_NIGHT or "merge_request_event" in job["rules"][0]["if"]
        assert (scheduled, by_day) == (name in nightly, name not in nightly), name


def test_gitlab_asks_for_the_tokens_that_accounts_accept(pipeline: dict[str, Any]) -> None:
    """The audience of GitLab's tokens is the one that `make bootstrap` makes known to an account."""
    assert pipeline[".stage"]["id_tokens"] == {"AWS_TOKEN": {"aud": ISSUERS["gitlab"][1]}}


def taken_on(pipeline: dict[str, Any], folder: Path, lines: list[str], **variables: str) -> Iterator[str]:
    """Run what a GitLab job does between `make stages` and its script, and yield what the script would see."""
    (folder / "build").mkdir()
    (folder / "build" / "stages.env").write_text("".join(f"{line}\n" for line in lines))
    script = (
        pipeline[".stage"]["before_script"][-1]
        + '\necho "$AWS_ROLE_ARN" "$AWS_REGION"; cat "$AWS_WEB_IDENTITY_TOKEN_FILE"'
    )
    environment = {"PATH": "/usr/bin:/bin", "CI_PROJECT_DIR": str(folder / "job"), "CI_JOB_ID": "7", **variables}
    command = ["bash", "-eo", "pipefail", "-c", script]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    yield from result.stdout.splitlines()


@pytest.mark.parametrize("role", ["deploy", "plan"])
def test_gitlab_job_takes_on_its_role(pipeline: dict[str, Any], tmp_path: Path, role: str) -> None:
    """A job finds role and region of its stage in what `make stages` says, and hands the token over in a file."""
    lines = [*told_by_stages("dev"), *told_by_stages("prod")]
    seen = list(taken_on(pipeline, tmp_path, lines, STAGE="prod", ROLE=role, AWS_TOKEN="the token"))
    assert seen == [f"arn:aws:iam::123456789012:role/acme-etl-prod-{role} eu-west-1", "the token"]


def test_gitlab_passes_over_a_stage_that_is_not_filled_in(pipeline: dict[str, Any], tmp_path: Path) -> None:
    """Where a stage is not filled in, the job ends well before it does anything."""
    lines = ["dev=false", *told_by_stages("prod")]
    seen = list(taken_on(pipeline, tmp_path, lines, STAGE="dev", ROLE="deploy", AWS_TOKEN="the token"))
    assert seen == ["config/dev.yml is not filled in yet."]


def test_tools_are_of_one_version(baked: Bake) -> None:
    """GitHub and GitLab run with the same Python and Terraform."""
    action = (baked() / ".github" / "actions" / "tools" / "action.yml").read_text(encoding="utf-8")
    gitlab = (baked(ci="gitlab") / ".gitlab-ci.yml").read_text(encoding="utf-8")
    versions = [re.findall(r'python-version: "(.*)"|terraform_version: "(.*)"', action)]
    versions.append(re.findall(r'image: python:(.*)-trixie|TERRAFORM_VERSION: "(.*)"', gitlab))
    assert versions[0] == versions[1] == [("3.13", ""), ("", "1.11.4")]
