"""Deployed to this machine by the real tools, the functions together do with the sample file what they should."""

from __future__ import annotations

from qualtrics_etl.testing import DeployedChecks


class TestDeployed(DeployedChecks):
    """The checks that every deployed workflow must pass, run on ours with our sample file."""

    file = "tests/data/contacts.csv"
