"""How much of Qualtrics' limits a waiting workflow uses, and how often it is refused.

The real steps work on many messages against the simulator, whose limits are those of the reference. Time is a virtual
clock's, so nothing is waited for. Two loads: the batches of one large run, which one endpoint's limit holds back; and
lists, imports, looks and invitations of many runs together, which the brand's limit does. The workflow is alone on the
brand.
"""

from __future__ import annotations

import argparse
import sys
import time

from qualtrics_etl.qualtrics.registry import BRAND_REQUESTS_PER_MINUTE, START_CONTACT_IMPORT
from qualtrics_etl.testing.pacing import Load, Paced, run_paced

GOAL_USED = 0.9
GOAL_REFUSED = 0.01
IMPORTS = "POST transactioncontacts"


def main() -> None:
    """Measure and print one line a load; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=2_000, help="of the large run")
    parser.add_argument("--minutes", type=int, default=4, help="for how long the brand's limit is asked for")
    parser.add_argument("--workers", type=int, default=16, help="at each service")
    options = parser.parse_args()
    print(f"goal: at least {GOAL_USED:.0%} used while work waits, under {GOAL_REFUSED:.0%} refused, no receive burnt")
    run = Load(batches=options.batches, workers=options.workers)
    many = Load(
        batches=100 * options.minutes,
        lists=500 * options.minutes,
        invitations=2_000 * options.minutes,
        workers=options.workers,
    )
    good = report("one run", run, START_CONTACT_IMPORT.requests_per_minute, IMPORTS)
    good &= report("the whole brand", many, BRAND_REQUESTS_PER_MINUTE)
    sys.exit(0 if good else 1)


def report(name: str, load: Load, limit: int, endpoint: str = "") -> bool:
    """Run a load and print what it came to; return whether the goals are met."""
    began = time.process_time()
    paced = run_paced(load)
    used = paced.share_used(limit, endpoint)
    print(
        f"{name:>16}: {used:6.1%} of {limit:,} a minute used, {paced.refused} of {paced.requests.total():,} requests"
        f" refused, {paced.deliveries:,} deliveries, most receives of a message {paced.most_receives},"
        f" {paced.dead_letters} dead letters; {minutes_of(paced)} minutes, {time.process_time() - began:.0f} s of ours",
        flush=True,
    )
    is_calm = paced.share_refused < GOAL_REFUSED and paced.most_receives == 1 and paced.dead_letters == 0
    return used >= GOAL_USED and is_calm


def minutes_of(paced: Paced) -> int:
    """Return how many minutes had requests."""
    return len({minute for minute, _ in paced.requests})


if __name__ == "__main__":
    main()
