"""The services work together: the sample file goes through the whole workflow."""

from __future__ import annotations

from qualtrics_etl.testing import WorkflowChecks


class TestWorkflow(WorkflowChecks):
    """The checks that every workflow must pass, run on ours with our sample file."""

    file = "tests/data/contacts.csv"
