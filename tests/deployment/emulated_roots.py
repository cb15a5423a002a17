"""Both Terraform roots of a generated repository, on an emulator that enforces permissions."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
from tests.deployment.deployable import TERRAFORM
from tests.terraform.conftest import ACCOUNT, PREFIX, REGION
from tests.terraform.environments import provider_settings, python_environment

from qualtrics_etl.local.emulator import running_emulator

STAGE, BOOTSTRAP = "terraform", "terraform/bootstrap"
STATE_BUCKET = f"{PREFIX}-state-{ACCOUNT}"
BACKEND = {
    "bucket": STATE_BUCKET,
    "region": REGION,
    "use_path_style": "true",
    "skip_credentials_validation": "true",
    "skip_metadata_api_check": "true",
    "skip_region_validation": "true",
    "skip_requesting_account_id": "true",
}
Result = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True)
class Roots:
    """A repository's two roots, with a login.

    Attributes:
        repository: Where it lies.
        endpoint: The emulator's address.
        login: AWS_ACCESS_KEY_ID and what belongs to it.
    """

    repository: Path
    endpoint: str
    login: Mapping[str, str]

    def client(self, service: str) -> Any:
        """Return a client of a service, with the login."""
        given = {name.lower(): value for name, value in self.login.items()}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, **given)  # type: ignore[call-overload]

    def run(self, root: str, command: str, *arguments: str, expect: int = 0) -> Result:
        """Run a command of Terraform's on a root, as the library does; anything but the exit code expected fails."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.repository), "AWS_ENDPOINT_URL": self.endpoint}
        environment |= dict(self.login)
        call = [str(TERRAFORM), f"-chdir={root}", *command.split(), "-no-color", *arguments]
        result = subprocess.run(call, cwd=self.repository, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == expect, f"{command}\n{result.stdout}\n{result.stderr}"
        return result

    def init(self, root: str) -> None:
        """Prepare a root, whose state lies in the emulator."""
        backend = BACKEND | {"key": "bootstrap.tfstate" if root == BOOTSTRAP else "stage.tfstate"}
        self.run(root, "init", "-input=false", *(f"-backend-config={name}={value}" for name, value in backend.items()))

    def apply(self, root: str) -> str:
        """Apply a root and return the line that counts."""
        said = self.run(root, "apply", "-input=false", "-auto-approve", "-var=stage=local").stdout
        (summary,) = [line for line in said.splitlines() if line.startswith("Apply complete!")]
        return summary

    def destroy(self, root: str) -> None:
        """Destroy what a root made."""
        self.run(root, "destroy", "-input=false", "-auto-approve", "-var=stage=local")

    def logged_in(self, role: str, subject: str, *, ref: str = "refs/heads/main") -> Roots:
        """Return the same with the login that a pipeline of GitHub's gets: a token for a role.

        What the emulator takes for the branch is `amr`, since it compares no claim `ref` (rules_3_39.py).
        """
        claims = {"iss": "https://token.actions.githubusercontent.com", "aud": "sts.amazonaws.com", "sub": subject}
        claims |= {"ref": ref, "amr": ref}
        parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode() for each in ({"alg": "none"}, claims)]
        answer = self.client("sts").assume_role_with_web_identity(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-{role}",
            RoleSessionName="pipeline",
            WebIdentityToken=".".join([*parts, "signature"]),
        )["Credentials"]
        login = {
            "AWS_ACCESS_KEY_ID": answer["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": answer["SecretAccessKey"],
            "AWS_SESSION_TOKEN": answer["SessionToken"],
        }
        return replace(self, login=login)


@contextmanager
def emulated_roots(repository: Path, folder: Path) -> Iterator[Roots]:
    """Start an emulator with an empty state bucket, for a repository."""
    provider_settings()
    with running_emulator(python_environment("emulator"), folder, REGION) as emulator:
        roots = Roots(repository, emulator.url, {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"})
        roots.client("s3").create_bucket(Bucket=STATE_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield roots
