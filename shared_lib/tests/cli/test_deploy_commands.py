"""`qetl deploy` and its neighbours: what they refuse before they touch anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qualtrics_etl.deployment.workbench import checkout_lock

Make = Callable[..., Path]


def qetl(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without a terminal and without anybody's AWS settings."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(root), "AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.run(
        [sys.executable, "-m", "qualtrics_etl", *arguments],
        cwd=root,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def repository(make_repository: Make) -> Path:
    """A repository with a stage dev."""
    root = make_repository()
    config = (root / "config" / "local.yml").read_text().replace("stage: local", "stage: dev")
    (root / "config" / "dev.yml").write_text(config)
    return root


@pytest.mark.parametrize("command", ["destroy", "unlock"])
def test_nobody_to_ask_means_no(repository: Path, command: str) -> None:
    """Without a terminal and without --yes nothing that can't be undone is begun."""
    result = qetl(repository, command, "--stage", "dev")
    assert (result.returncode, result.stderr) == (
        2,
        "error: Nobody can be asked here; nothing was changed. Give --yes.\n",
    )


def test_prod_is_deployed_to_by_nobody_unasked(repository: Path) -> None:
    """Without a terminal and without --yes prod is left alone, before anything is looked at; --yes goes on."""
    result = qetl(repository, "deploy", "--stage", "prod")
    assert (result.returncode, result.stderr) == (
        2,
        "error: Nobody can be asked here; nothing was changed. Give --yes (`make deploy STAGE=prod YES=1`).\n",
    )
    assert "there is no stage prod" in qetl(repository, "deploy", "--stage", "prod", "--yes").stderr


def test_package_waits_for_a_deploy(repository: Path) -> None:
    """A deploy takes its package from build/: while one works, nothing is built there, and it is said why."""
    with checkout_lock(repository, "deploy", "dev", print):
        command = [sys.executable, "-m", "qualtrics_etl", "package"]
        waiting = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert waiting.stdout
        assert "Another command still works in this checkout (deploy for stage dev" in waiting.stdout.readline()
        assert not (repository / "build").exists()
    waiting.communicate()
    assert waiting.returncode == 2  # there is nothing here to build from


def test_all_that_is_missing_is_told_at_once(repository: Path) -> None:
    """Stage, Terraform, sls and package: each with its remedy, in one go, and nothing is changed."""
    result = qetl(
        repository, "deploy", "--stage", "test", "--prebuilt", QETL_TERRAFORM="no/terraform", QETL_SLS="no/sls"
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: 4 things are missing; nothing was changed.\n")
    for part in (
        "there is no stage test. Stages here: dev, local.",
        "Terraform is not there: no/terraform. Install Terraform 1.11",
        "sls is not there: no/sls. Install what package-lock.json names",
        "nothing was built. `make package` builds it.",
    ):
        assert part in result.stderr
    assert not (repository / ".qetl" / "deploy-test.lock").exists()


def test_old_terraform_is_refused(repository: Path, tmp_path: Path) -> None:
    """Its version is named, and where to get a newer one."""
    old = tmp_path / "terraform"
    old.write_text('#!/bin/sh\necho \'{"terraform_version": "1.10.5"}\'\n')
    old.chmod(0o755)
    result = qetl(repository, "plan", "--stage", "dev", QETL_TERRAFORM=str(old))
    assert result.returncode == 2
    assert "Terraform 1.10.5 is too old" in result.stderr


@pytest.mark.parametrize("command", ["deploy", "plan", "bootstrap"])
def test_missing_credentials_are_told_with_the_remedy(repository: Path, command: str) -> None:
    """Whoever is not signed in is told so, and how, before anything else is asked of AWS."""
    sls = repository / "sls"
    sls.write_text("#!/bin/sh\n")
    sls.chmod(0o755)
    result = qetl(repository, command, "--stage", "dev", QETL_SLS=str(sls))
    assert result.returncode == 2
    assert "There are no usable AWS credentials" in result.stderr
    assert "aws sso login" in result.stderr


def test_left_over_endpoint_is_refused(repository: Path) -> None:
    """A stage on AWS is not deployed to wherever a variable points."""
    result = qetl(repository, "plan", "--stage", "dev", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert result.returncode == 2
    assert "unset AWS_ENDPOINT_URL" in result.stderr
