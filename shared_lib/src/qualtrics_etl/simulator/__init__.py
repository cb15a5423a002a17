"""The Qualtrics API for tests and local runs: a real HTTP server with memory, strict rules and faults by name.

It shares no code with the client, so it cannot share a misreading. Each rule names where its fact is from; where
nothing is known, it says what was chosen.

Every area has the same files: `routes.py` (addresses, limits), `handlers.py` (HTTP in and out), `models.py` (state and
rules), `errors.py` (refusals).
"""

from __future__ import annotations

from qualtrics_etl.simulator.accounts.models import OAuthClient, User
from qualtrics_etl.simulator.directories.models import DeduplicationCriteria, Directory
from qualtrics_etl.simulator.faults import SCENARIOS, Fault
from qualtrics_etl.simulator.libraries.models import Library, Message
from qualtrics_etl.simulator.progress import JobProgress
from qualtrics_etl.simulator.seed import Seed
from qualtrics_etl.simulator.simulator import RequestNote, Simulator
from qualtrics_etl.simulator.surveys.models import Survey

__all__ = [
    "SCENARIOS",
    "DeduplicationCriteria",
    "Directory",
    "Fault",
    "JobProgress",
    "Library",
    "Message",
    "OAuthClient",
    "RequestNote",
    "Seed",
    "Simulator",
    "Survey",
    "User",
]
