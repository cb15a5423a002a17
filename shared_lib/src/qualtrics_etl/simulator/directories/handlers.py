"""Answers about directories."""

from __future__ import annotations

import dataclasses

from qualtrics_etl.simulator import paging
from qualtrics_etl.simulator.calls import Call, JsonObject, Reply
from qualtrics_etl.simulator.directories.models import Directory


def list_directories(call: Call) -> Reply:
    """List directories. Source: Qualtrics API reference, the page on listing directories."""
    counted = paging.flag(call, "includeCount")

    def element(directory: Directory) -> JsonObject:
        return {
            "directoryId": directory.directory_id,
            "name": directory.name,
            "contactCount": len(directory.contacts) if counted else None,
            "isDefault": directory.is_default,
            "deduplicationCriteria": dataclasses.asdict(directory.deduplication),
        }

    return Reply(paging.page_of(call.state.directories.values(), call, element))
