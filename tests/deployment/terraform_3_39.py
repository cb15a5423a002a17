#!/bin/sh
""":" # A command of the shell that does nothing. It hands over to this repository's Python, and reads no further.

exec "${0%/*}/../../.venv/bin/python" -S "$0" "$@"

Terraform with AWS provider 3.39, for a generated repository that is written for provider 6; on an emulator only.

Give it to a generated Makefile in the place of Terraform: `make deploy STAGE=local TERRAFORM=.../terraform_3_39.py`. It
is called as Terraform is, in the repository: with `-chdir=terraform` or `-chdir=terraform/bootstrap` the real Terraform
works on an adapted copy in .qetl/terraform-3.39 (rules_3_39.py says what is other there); without, on what is there.
Files named by arguments (-out=, a plan) must be absolute paths. This program then is Terraform, so signals reach it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from rules_3_39 import RULES, RuleFoundNothingError, adapt, override

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "build" / "terraform-3.39.rc"
COPY = Path(".qetl", "terraform-3.39")
ROOTS = ("", "bootstrap")
LEFT_OUT = ("tests", ".terraform", ".terraform.lock.hcl")
"""Tests speak of what provider 3.39 does not know; the others are Terraform's own, and the copy has its own."""
TAKEOVER = "qetl_takeover.tf"
ALLOW_ACLS = """
import boto3, sys
for bucket in sys.argv[1:]:
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    boto3.client("s3").put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
"""


def main() -> None:
    """Become Terraform."""
    arguments, environment = sys.argv[1:], dict(os.environ)
    if arguments and arguments[0].startswith("-chdir="):
        folder = Path(arguments[0].removeprefix("-chdir="))
        repository = Path.cwd()
        below = folder.relative_to(repository) if folder.is_absolute() else folder
        copy = repository / COPY
        write_copy(repository, copy, loopback(environment.get("AWS_ENDPOINT_URL", "")))
        allow_acls(repository / below / TAKEOVER)
        arguments[0] = f"-chdir={copy / below}"
        environment |= {"TF_CLI_CONFIG_FILE": settings(), "CHECKPOINT_DISABLE": "1"}
    os.execvpe("terraform", ["terraform", *arguments], environment)


def allow_acls(takeover: Path) -> None:
    """Let buckets that are about to be imported take ACLs: 3.39 sets one on each, and S3 refuses that on new buckets.

    In a bucket that 3.39 makes itself, the ACL comes with its creation.
    """
    imports = re.findall(r'\.aws_s3_bucket\.\w+\s+id = "(.+)"', takeover.read_text() if takeover.exists() else "")
    if imports:
        subprocess.run([ROOT / ".venv" / "bin" / "python", "-c", ALLOW_ACLS, *imports], check=True)


def loopback(endpoint: str) -> str:
    """Return an address on this machine; anything else would be a deploy to where nobody wants it."""
    if urlsplit(endpoint).hostname not in ("127.0.0.1", "localhost", "::1"):
        sys.exit(f"AWS_ENDPOINT_URL is {endpoint!r}: it must be an emulator's address on this machine.")
    return endpoint


def write_copy(repository: Path, copy: Path, endpoint: str) -> None:
    """Bring the copy to what the repository says now; what is right already is not written again."""
    try:
        wanted = dict(adapted_tree(repository, endpoint))
    except RuleFoundNothingError as error:
        sys.exit(str(error))
    for path in files(copy):
        if path.relative_to(copy).as_posix() not in wanted:
            path.unlink()
    for name, text in wanted.items():
        file = copy / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


def adapted_tree(repository: Path, endpoint: str) -> list[tuple[str, str]]:
    """Return the copy's files: names from its root, and texts."""
    tree = repository / "terraform"
    texts = {path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8") for path in files(tree)}
    for rule in RULES:
        if rule.file not in texts:
            raise RuleFoundNothingError(f"There is no terraform/{rule.file} for this rule: {rule}")
    others = [repository / "workflow.yml", *sorted((repository / "config").glob("*.yml"))]
    return [
        *((f"terraform/{name}", adapt(name, text)) for name, text in texts.items()),
        *((path.relative_to(repository).as_posix(), path.read_text(encoding="utf-8")) for path in others),
        *((Path("terraform", root, "zz_3_39_override.tf").as_posix(), override(endpoint)) for root in ROOTS),
    ]


def files(folder: Path) -> list[Path]:
    """Return a tree's files, without what belongs to tests and to Terraform itself."""
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - set(LEFT_OUT))
        found += [Path(base, name) for name in sorted(names) if name not in LEFT_OUT]
    return found


def settings() -> str:
    """Return the settings by which Terraform installs the provider, which the first call on a machine makes."""
    if not SETTINGS.exists():
        make = "from tests.terraform.environments import provider_settings; provider_settings()"
        subprocess.run([ROOT / ".venv" / "bin" / "python", "-c", make], cwd=ROOT, check=True)
    return str(SETTINGS)


if __name__ == "__main__":
    main()
