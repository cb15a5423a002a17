"""What a plan of Terraform's would change, out of `terraform show -json`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_WORDS = {"create": "create", "update": "change", "delete": "destroy", "replace": "replace"}
_KEY = re.compile(r'\["([^"]+)"\]')
SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a plan changes.

    Attributes:
        address: In Terraform's words.
        kind: Terraform's type, for example `aws_sqs_queue`.
        action: `create`, `update`, `replace` or `delete`.
        before: Its attributes now; empty when it is not there.
        after: Its attributes afterwards, as far as they are known.
    """

    address: str
    kind: str
    action: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a plan would change.

    Attributes:
        planned: In the plan's order.
        drifted: What somebody else changed on AWS since the last apply.
        is_empty: Whether applying it would do nothing at all, not even to outputs.
    """

    planned: tuple[Change, ...]
    drifted: tuple[Change, ...]
    is_empty: bool

    def of(self, *actions: str) -> Iterator[Change]:
        """Yield what has one of these actions."""
        return (each for each in self.planned if each.action in actions)

    def summary(self, services: Iterator[str] | list[str]) -> list[str]:
        """Return a line for all, and one for each service; empty when nothing changes."""
        if not self.planned:
            return []
        known = set(services)
        by_owner: dict[str, Counter[str]] = {}
        for each in self.planned:
            by_owner.setdefault(_owner(each.address, known), Counter())[_WORDS[each.action]] += 1
        total = sum(by_owner.values(), Counter[str]())
        return [f"To {_counted(total)}"] + [f"  {owner}: {_counted(counts)}" for owner, counts in by_owner.items()]


def read_changes(text: str) -> Changes:
    """Read the output of `terraform show -json PLAN`."""
    plan = json.loads(text)
    planned = tuple(filter(None, map(_change, plan.get("resource_changes", []))))
    outputs = any(each["actions"] != ["no-op"] for each in plan.get("output_changes", {}).values())
    moved = any(
        "importing" in each["change"] or "previous_address" in each for each in plan.get("resource_changes", [])
    )
    return Changes(
        planned,
        tuple(filter(None, map(_change, plan.get("resource_drift", [])))),
        # Newer versions of Terraform say it themselves.
        is_empty=not plan.get("applyable", bool(planned or outputs or moved)),
    )


def _change(entry: Mapping[str, Any]) -> Change | None:
    actions = entry["change"]["actions"]
    action = "replace" if len(actions) > 1 else actions[0]
    if action not in _WORDS or entry.get("mode") == "data":
        return None
    before, after = entry["change"].get("before") or {}, entry["change"].get("after") or {}
    return Change(entry["address"], entry["type"], action, before, after)


def _owner(address: str, services: set[str]) -> str:
    return next((key for key in _KEY.findall(address) if key in services), SHARED)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {counts[word]}" for word in _WORDS.values() if counts.get(word))
