"""What a generated repository imports in its tests: checks that every step must pass, values to test hooks with.

Run pytest in the repository's root: the checks read its workflow.yml and config/local.yml, and run its own handlers.
"""

from __future__ import annotations

from qualtrics_etl.testing.boundaries import CrashKind
from qualtrics_etl.testing.checks import StepChecks, WorkflowChecks
from qualtrics_etl.testing.crashes import CrashChecks, CrashMatrix, CrashReport
from qualtrics_etl.testing.deployed import DeployedChecks
from qualtrics_etl.testing.hooks import parse_text, row_context, run_context, wired_step
from qualtrics_etl.testing.runs import Disturbance, Outcome, run_workflow

__all__ = [
    "CrashChecks",
    "CrashKind",
    "CrashMatrix",
    "CrashReport",
    "DeployedChecks",
    "Disturbance",
    "Outcome",
    "StepChecks",
    "WorkflowChecks",
    "parse_text",
    "row_context",
    "run_context",
    "run_workflow",
    "wired_step",
]
