"""The service import_contacts does what every step must do, and sends what the survey wants to know."""

from __future__ import annotations

from qualtrics_etl import Contact
from qualtrics_etl.testing import StepChecks, row_context, wired_step

ROW = {
    "email": "ana.costa@example.com",
    "first_name": "Ana",
    "last_name": "Costa",
    "language": "EN",
    "branch": "Riverside",
    "visited_on": "2025-03-14",
}


class TestImportContacts(StepChecks):
    """The checks that every step must pass, run on our handler."""

    service = "import_contacts"


def test_contact_tells_of_the_visit() -> None:
    """Branch and day of the visit go along as embedded data."""
    step = wired_step("import_contacts")
    assert step.build_contact(ROW, context=row_context()) == Contact(
        email="ana.costa@example.com",
        first_name="Ana",
        last_name="Costa",
        language="EN",
        embedded_data={"branch": "Riverside", "visited_on": "2025-03-14"},
    )
