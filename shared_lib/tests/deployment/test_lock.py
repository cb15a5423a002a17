"""One command at a time in a checkout, and what each stage's last one left behind."""

from __future__ import annotations

from pathlib import Path

from qualtrics_etl.deployment.lock import StageLock
from qualtrics_etl.deployment.workbench import checkout_lock


def nothing(text: str) -> None:
    """Say nothing."""


def test_two_stages_wait_for_each_other(tmp_path: Path) -> None:
    """Both write to the same places of the checkout; who waits is told for which command on which stage."""
    said: list[str] = []
    first = checkout_lock(tmp_path, "deploy", "dev", nothing)
    path = tmp_path / ".qetl" / "checkout.lock"
    # While it waits, the other one ends.
    second = StageLock(
        path, "bootstrap", stage="prod", say=said.append, sleep=lambda seconds: first.__exit__(None, None, None)
    )
    with_first = first.__enter__()
    assert with_first.left_behind is None
    with second:
        (told,) = said
    assert told.startswith("Another command still works in this checkout (deploy for stage dev, process ")


def test_look_waits_for_nobody_but_its_like(tmp_path: Path) -> None:
    """A plan of a stage goes on beside a deploy of it, and beside the plan of another stage."""
    with (
        checkout_lock(tmp_path, "deploy", "dev", nothing),
        checkout_lock(tmp_path, "plan", "dev", nothing, apart=True),
        checkout_lock(tmp_path, "plan", "prod", nothing, apart=True),
    ):
        names = sorted(path.name for path in (tmp_path / ".qetl").iterdir())
    assert names == ["checkout.lock", "plan-dev.lock", "plan-prod.lock"]


def test_what_was_left_behind_is_known_by_stage(tmp_path: Path) -> None:
    """A deploy that was killed in one stage is remembered through deploys of another, until its own is mended."""
    with checkout_lock(tmp_path, "deploy", "dev", nothing) as lock:
        lock.runs("terraform apply", 4_000_000, locks_state=True)
        lock.ended("terraform apply", killed=True, locks_state=True)
    with checkout_lock(tmp_path, "deploy", "prod", nothing) as lock:
        assert lock.left_behind is None
        lock.runs("terraform plan", 4_000_000, locks_state=True)
        lock.ended("terraform plan", killed=False, locks_state=True)
    with checkout_lock(tmp_path, "deploy", "dev", nothing) as lock:
        assert lock.left_behind
        assert lock.left_behind.what == "terraform apply"
        lock.forget()
    with checkout_lock(tmp_path, "deploy", "dev", nothing) as lock:
        assert lock.left_behind is None
