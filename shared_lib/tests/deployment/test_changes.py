"""A plan's changes, out of what a real Terraform says."""

from __future__ import annotations

import subprocess
from pathlib import Path

from qualtrics_etl.deployment.changes import Changes, read_changes

BEFORE = """\
resource "terraform_data" "kept" {
  for_each = toset(["parse_file"])
  input    = "one"
}

resource "terraform_data" "replaced" {
  triggers_replace = "one"
}

resource "terraform_data" "gone" {}
"""
AFTER = """\
resource "terraform_data" "kept" {
  for_each = toset(["parse_file"])
  input    = "two"
}

resource "terraform_data" "replaced" {
  triggers_replace = "two"
}

resource "terraform_data" "new" {}
"""


def terraform(folder: Path, *arguments: str) -> str:
    """Run Terraform in a folder, and return what it printed."""
    return subprocess.run(["terraform", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def plan(folder: Path) -> Changes:
    """Make a plan and read it."""
    terraform(folder, "plan", "-out=plan.tfplan", "-input=false")
    return read_changes(terraform(folder, "show", "-json", "plan.tfplan"))


def test_every_kind_of_change_is_told_apart(tmp_path: Path) -> None:
    """Create, change, replace, destroy, and nothing at all; counted for each service and for what all share."""
    (tmp_path / "main.tf").write_text(BEFORE)
    terraform(tmp_path, "init")
    terraform(tmp_path, "apply", "-auto-approve")
    assert plan(tmp_path).is_empty
    (tmp_path / "main.tf").write_text(AFTER)
    changes = plan(tmp_path)
    assert {each.address: each.action for each in changes.planned} == {
        'terraform_data.kept["parse_file"]': "update",
        "terraform_data.replaced": "replace",
        "terraform_data.new": "create",
        "terraform_data.gone": "delete",
    }
    assert not changes.is_empty
    assert changes.summary(["parse_file"])[0] == "To create 1, change 1, destroy 1, replace 1"
    assert set(changes.summary(["parse_file"])[1:]) == {
        "  parse_file: change 1",
        "  shared: create 1, destroy 1, replace 1",
    }


def test_change_of_an_output_is_a_change(tmp_path: Path) -> None:
    """Nothing is made, and there is still something to apply."""
    (tmp_path / "main.tf").write_text('output "greeting" {\n  value = "hello"\n}\n')
    terraform(tmp_path, "init")
    changes = plan(tmp_path)
    assert (changes.planned, changes.is_empty) == ((), False)
