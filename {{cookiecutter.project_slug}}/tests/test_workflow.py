"""The services work together: the sample file goes through the whole workflow."""

from __future__ import annotations

from qualtrics_etl.testing import CrashChecks, WorkflowChecks


class TestWorkflow(WorkflowChecks):
    """The checks that every workflow must pass, run on ours with our sample file."""

    file = "tests/data/contacts.csv"


class TestCrashes(CrashChecks):
    """A worker may die at any call it makes: the first rows of our sample file, with our handlers."""

    file = "tests/data/contacts.csv"
