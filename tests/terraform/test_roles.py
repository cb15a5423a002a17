"""Each function may do what its step needs, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import yaml
from tests.conftest import Bake
from tests.terraform.conftest import ACCOUNT, REGION, Apply, Copy, State, Terraform, arn, change_workflow, read_yaml
from typing_extensions import override

from qualtrics_etl.catalogue import KINDS
from qualtrics_etl.deployment.secret_names import secret_names
from qualtrics_etl.local.repository import open_repository
from qualtrics_etl.local.run import LocalRun
from qualtrics_etl.ports import ObjectStore, PutResult, StoredObject
from qualtrics_etl.settings import read_config
from qualtrics_etl.testing.faults import ObjectsAround

pytestmark = pytest.mark.slow

MOST_CHARACTERS = 10_240
"""Of all policies of a role together. Source: AWS, IAM and STS character limits."""

BUCKET = f"arn:aws:s3:::acme-etl-local-data-{ACCOUNT}"


def statements(state: State) -> dict[str, list[dict[str, Any]]]:
    """Return the statements of each service's role."""
    return {
        address.split('"')[1]: json.loads(each["policy"])["Statement"]
        for address, each in state.items()
        if ".aws_iam_role_policy." in address
    }


def test_no_role_has_a_wildcard(state: State) -> None:
    """No role has an action with a wildcard, nor a resource that is one; each statement allows."""
    found = [each for rights in statements(state).values() for each in rights]
    assert len(found) >= 6 * 6
    assert {each["Effect"] for each in found} == {"Allow"}
    assert [action for each in found for action in each["Action"] if "*" in action] == []
    assert [resource for each in found for resource in each["Resource"] if not resource.startswith("arn:aws:")] == []


def test_only_objects_and_log_streams_are_named_by_pattern(state: State) -> None:
    """A pattern in a resource stands for objects below a prefix, or for streams of the service's own log group."""
    patterns = {
        resource
        for rights in statements(state).values()
        for each in rights
        for resource in each["Resource"]
        if "*" in resource
    }
    others = {each for each in patterns if not each.startswith(f"{BUCKET}/") and not each.endswith(":*")}
    others -= {arn("kms", "key/*")}  # AWS chooses its name: test_only_own_secrets_are_decrypted
    assert (others, {each.removeprefix(BUCKET) for each in patterns} & {"/*", "*"}) == (set(), set())


def test_role_of_parse_file(state: State) -> None:
    """The whole of one role: queue, dead-letter queue, next queue, objects, log; no secret."""
    name = "acme-etl-local-parse-file"
    assert {each["Sid"]: (each["Action"], each["Resource"]) for each in statements(state)["parse_file"]} == {
        "OwnQueue": (
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",
            ],
            [arn("sqs", name)],
        ),
        "SendOn": (
            ["sqs:SendMessage"],
            [arn("sqs", f"{name}-dlq"), arn("sqs", "acme-etl-local-create-mailing-list")],
        ),
        "ReadObjects": (["s3:GetObject"], [f"{BUCKET}/{prefix}/*" for prefix in ("ledger", "payloads")]),
        "WriteObjects": (
            ["s3:AbortMultipartUpload", "s3:PutObject"],
            [f"{BUCKET}/{keys}" for keys in ("ledger/*", "payloads/*/parse_file/*", "rejects/*/parse_file/*")],
        ),
        "TellMissingObjects": (["s3:ListBucket"], [BUCKET]),
        "WriteLogs": (
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [arn("logs", f"log-group:/aws/lambda/{name}:*")],
        ),
    }


def test_secrets_go_only_to_steps_that_need_them(state: State) -> None:
    """Who speaks with Qualtrics reads the token, who speaks with the SFTP server its login, and nobody both."""
    readers = {
        service: {
            resource.rsplit("/", 1)[1]
            for each in rights
            if each["Sid"] == "ReadSecrets"
            for resource in each["Resource"]
        }
        for service, rights in statements(state).items()
    }
    token = {"qualtrics_api_token"}
    assert readers == {
        "fetch_sftp_file": {"sftp_password"},
        "parse_file": set(),
        "create_mailing_list": token,
        "import_contacts": token,
        "schedule_distribution": token,
        "schedule_reminder": token,
    }


def test_only_own_secrets_are_decrypted(state: State) -> None:
    """Who reads secrets may have SSM decrypt those, and nobody may decrypt anything else."""
    found = {
        service: {each["Sid"]: each for each in rights if {"ssm:GetParameter", "kms:Decrypt"} & {*each["Action"]}}
        for service, rights in statements(state).items()
    }
    assert found.pop("parse_file") == {}
    for rights in found.values():
        assert rights.keys() == {"ReadSecrets", "DecryptSecrets"}
        assert rights["DecryptSecrets"] == {
            "Sid": "DecryptSecrets",
            "Effect": "Allow",
            "Action": ["kms:Decrypt"],
            "Resource": [arn("kms", "key/*")],
            "Condition": {
                "StringEquals": {
                    "kms:EncryptionContext:PARAMETER_ARN": rights["ReadSecrets"]["Resource"],
                    "kms:ViaService": [f"ssm.{REGION}.amazonaws.com"],
                }
            },
        }


GITHUB, GITLAB = "token.actions.githubusercontent.com", "gitlab.com"
TRUSTED: list[tuple[dict[str, str], str, dict[str, Any], dict[str, Any]]] = [
    (
        {"host": "github", "repository": "acme/etl"},
        GITHUB,
        {"sub": ["repo:acme/etl:environment:local"], "ref": "refs/heads/main"},
        {"sub": ["repo:acme/etl:pull_request", "repo:acme/etl:ref:refs/heads/main"]},
    ),
    (
        {"host": "github", "repository": "acme/etl", "owner_id": "12", "repository_id": "034", "branch": "x/y"},
        GITHUB,
        {
            "sub": ["repo:acme/etl:environment:local", "repo:acme@12/etl@034:environment:local"],
            "ref": "refs/heads/x/y",
        },
        {
            "sub": [
                "repo:acme/etl:pull_request",
                "repo:acme/etl:ref:refs/heads/x/y",
                "repo:acme@12/etl@034:pull_request",
                "repo:acme@12/etl@034:ref:refs/heads/x/y",
            ]
        },
    ),
    (
        {"host": "gitlab", "repository": "acme/team/etl", "branch": "master"},
        GITLAB,
        {"sub": ["project_path:acme/team/etl:ref_type:branch:ref:master"]},
        {"sub": ["project_path:acme/team/etl:ref_type:branch:ref:*"]},
    ),
]
"""What config says of pipelines, whose tokens are asked for, and what they must say to become deploy and plan role."""


@pytest.mark.parametrize(("ci", "issuer", "deploy", "plan"), TRUSTED)
def test_roles_of_pipelines_trust_what_config_names(
    apply: Apply, own: Path, ci: dict[str, str], issuer: str, deploy: dict[str, Any], plan: dict[str, Any]
) -> None:
    """Only the repository that config names becomes a role, and only its one branch becomes the deploy role."""
    tell_of_pipelines(own, ci)
    made = apply(own, "bootstrap")
    for purpose, told in (("deploy", deploy), ("plan", plan)):
        policy = json.loads(made[f'module.ci_role["{purpose}"].aws_iam_role.this']["assume_role_policy"])
        (statement,) = policy["Statement"]
        asked = {name: value for each in statement["Condition"].values() for name, value in each.items()}
        del asked[f"{issuer}:aud"]
        assert asked == {f"{issuer}:{claim}": value for claim, value in told.items()}


def test_branch_that_stands_for_many_is_refused(terraform: Terraform, own: Path) -> None:
    """On GitLab the branch goes into a pattern: a * there would let every branch deploy."""
    tell_of_pipelines(own, {"host": "gitlab", "repository": "acme/etl", "branch": "*"})
    messages = terraform.test(own, root="bootstrap")
    details = {each["diagnostic"]["detail"] for each in messages if each["type"] == "diagnostic"}
    assert [detail for detail in details if detail.startswith("config/local.yml: ci.branch is one branch")]


def tell_of_pipelines(repository: Path, ci: dict[str, str]) -> None:
    """Write into the config of the stage `local` whose pipelines may deploy."""
    file = repository / "config" / "local.yml"
    file.write_text(yaml.safe_dump(read_yaml(file) | {"ci": ci}))


def test_only_those_that_call_qualtrics_share_its_minutes(state: State) -> None:
    """Who calls Qualtrics reads and writes what is taken of a minute, and nobody else does."""
    sharing = {
        (service, action)
        for service, rights in statements(state).items()
        for each in rights
        for action in each["Action"]
        if f"{BUCKET}/pace/*" in each["Resource"] and action in ("s3:GetObject", "s3:PutObject")
    }
    calling = {kind.name for kind in KINDS.values() if kind.calls}
    assert sharing == {(service, action) for service in calling for action in ("s3:GetObject", "s3:PutObject")}


def test_every_kind_of_the_catalogue_has_its_rights(apply: Apply, own: Path) -> None:
    """A service of any kind that the library knows gets a role: the table of rights leaves none out."""

    def one_of_each(workflow: dict[str, Any]) -> None:
        common = dict(workflow["services"]["parse_file"])
        workflow["services"] = {kind: common | {"kind": kind} for kind in KINDS}
        workflow["chains"] = {"all": list(KINDS)}

    change_workflow(own, one_of_each)
    assert statements(apply(own)).keys() == KINDS.keys()


def test_no_role_is_without_the_boundary(state: State) -> None:
    """Every role has the stage's permissions boundary: a pipeline may make no other."""
    roles = {address: each["permissions_boundary"] for address, each in state.items() if ".aws_iam_role." in address}
    assert len(roles) == 6
    assert set(roles.values()) == {f"arn:aws:iam::{ACCOUNT}:policy/acme-etl-local-boundary"}


def test_only_fetching_deletes(state: State) -> None:
    """Nothing is deleted but a fetched file that turns out to be known; all else expires."""
    deleting = {
        service: each["Resource"]
        for service, rights in statements(state).items()
        for each in rights
        if "s3:DeleteObject" in each["Action"]
    }
    assert deleting == {"fetch_sftp_file": [f"{BUCKET}/payloads/*/fetch_sftp_file/*"]}


def test_other_logins_need_other_secrets(apply: Apply, own: Path) -> None:
    """With OAuth and a private key, those secrets exist and are readable, and the default ones are not there at all."""
    config = read_yaml(own / "config" / "local.yml")
    config["qualtrics"]["auth"], config["sftp"]["auth"] = "oauth", "private_key"
    (own / "config" / "local.yml").write_text(yaml.safe_dump(config))
    made, prepared = apply(own), apply(own, "bootstrap")
    secrets = [each for address, each in prepared.items() if address.startswith("module.secrets")]
    names = {each["name"].rsplit("/", 1)[1] for each in secrets}
    assert names == set(secret_names(read_config(own, "local")))
    (reading,) = [each for each in statements(made)["import_contacts"] if each["Sid"] == "ReadSecrets"]
    assert names == {"qualtrics_client_id", "qualtrics_client_secret", "sftp_private_key"}
    assert reading["Resource"] == [
        arn("ssm", f"parameter/acme-etl/local/{name}") for name in ("qualtrics_client_id", "qualtrics_client_secret")
    ]


class RecordedObjects(ObjectsAround):
    """A store that writes down which service does what with which key."""

    def __init__(self, service: str, inner: ObjectStore, touched: set[tuple[str, str, str]]) -> None:
        super().__init__(inner)
        self._note = lambda action, key: touched.add((service, action, key))

    @override
    def get(self, key: str) -> StoredObject | None:
        self._note("s3:GetObject", key)
        return super().get(key)

    @override
    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        self._note("s3:GetObject", key)
        return super().open(key, start=start)

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        self._note("s3:PutObject", key)
        return super().put(key, body, if_none_match=if_none_match, if_match=if_match)

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        self._note("s3:PutObject", key)
        return super().put_stream(key, chunks)

    @override
    def delete(self, key: str) -> None:
        self._note("s3:DeleteObject", key)
        super().delete(key)


def refused_keys(state: State, touched: set[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return what was touched and lies outside of what the roles allow."""
    allowed = {
        (service, action): [resource.removeprefix(f"{BUCKET}/") for resource in each["Resource"]]
        for service, rights in statements(state).items()
        for each in rights
        for action in each["Action"]
        if action.startswith("s3:")
    }
    return [
        (service, action, key)
        for service, action, key in sorted(touched)
        if not any(fnmatchcase(key, pattern) for pattern in allowed.get((service, action), []))
    ]


def test_steps_touch_only_what_their_roles_allow(state: State, baked: Bake, tmp_path: Path) -> None:
    """Run for real, with several batches, rejects, a report and a file that comes twice: each key is in the role."""
    touched: set[tuple[str, str, str]] = set()
    repository = open_repository(shutil.copytree(baked(), tmp_path / "acme-etl"))
    place = LocalRun(
        repository,
        tmp_path / "state",
        rate_limits=False,
        objects_for=lambda service, objects: RecordedObjects(service, objects, touched),
    )
    large = tmp_path / "large.csv"
    # The parser refuses the first, and Qualtrics the second, so that its report is read.
    rows = ["no address,Ann,Lee,EN,North,2026-01-02", "no<body@example.com,Ann,Lee,EN,North,2026-01-02"]
    rows += [f"p{n}@example.com,Ann,{'x' * 900},EN,North,2026-01-02" for n in range(6_000)]
    large.write_text("\n".join(["email,first_name,last_name,language,branch,visited_on", *rows]))
    again = Path(shutil.copyfile(large, tmp_path / "again.csv"))
    with place:
        for file in (large, again):
            place.drop(file)
        place.engine.run()
    assert refused_keys(state, touched) == []
    assert {"outcomes", "rejects", "payloads"} <= {
        key.split("/")[0] for service, _, key in touched if "import" in service
    }
    assert any("/jobs/" in key for _, _, key in touched)
    assert {action for _, action, _ in touched} == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}


def test_post_is_taken_with_the_rights_of_its_role(
    apply: Apply, state_of: Callable[..., State], copy_of: Copy, tmp_path: Path
) -> None:
    """Where contacts are POSTed, the receiver's role covers each key that it touches, and only it reads the secret."""
    repository = copy_of(inbound="post")
    made, prepared = state_of(inbound="post"), apply(repository, "bootstrap")
    names = {each["name"].rsplit("/", 1)[1] for key, each in prepared.items() if key.startswith("module.secrets")}
    assert (
        names == set(secret_names(read_config(repository, "local"))) == {"qualtrics_api_token", "post_signing_secret"}
    )
    readers = {service for service, rights in statements(made).items() if "post_signing_secret" in json.dumps(rights)}
    assert readers == {"receive_post"}

    touched: set[tuple[str, str, str]] = set()
    place = LocalRun(
        open_repository(repository),
        tmp_path / "state",
        rate_limits=False,
        objects_for=lambda service, objects: RecordedObjects(service, objects, touched),
    )
    with place:
        for _ in range(2):
            place.drop(repository / "tests/data/contacts.csv")
        place.engine.run()
    assert refused_keys(made, touched) == []
    assert {action for service, action, _ in touched if service == "receive_post"} == {"s3:GetObject", "s3:PutObject"}


def test_pipelines_may_make_an_http_api_where_posts_come_in(apply: Apply, own: Path, copy_of: Copy) -> None:
    """Only where a workflow takes POSTs can the deploy role make an API, in its region; all still fits into a role."""
    posting = copy_of(inbound="post")
    found = {}
    for repository in (own, posting):
        tell_of_pipelines(repository, {"host": "gitlab", "repository": "acme/etl"})
        made = apply(repository, "bootstrap")
        policies = [
            each["policy"]
            for key, each in made.items()
            if key.startswith('module.ci_role["deploy"].') and ".aws_iam_role_policy." in key
        ]
        found[repository] = [each for policy in policies for each in json.loads(policy)["Statement"]]
        assert sum(map(len, policies)) < MOST_CHARACTERS
    apis = [
        [each["Resource"] for each in rights if any(action.startswith("apigateway:") for action in each["Action"])]
        for rights in found.values()
    ]
    assert apis == [[], [[f"arn:aws:apigateway:{REGION}::/{name}" for name in ("apis", "apis/*", "tags/*")]]]
