"""Starts the AWS emulator. Run by the emulator's own Python; the library never imports it.

Three things are added to the emulator's own program:

- It asks for the permission `sqs:SendMessageBatch` and its like, which AWS does not know: there `sqs:SendMessage`
  covers a batch too (Source: Service Authorization Reference, Amazon SQS).
- It counts http as not encrypted, so that a rule which demands TLS refuses everybody. It only listens on this machine,
  where http is what TLS is elsewhere.
- It ends with whoever started it, however that died: its standard input is a pipe that nobody writes to, and the
  pipe's end is the starter's.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

STANDARD_INPUT = 0
BATCH_ACTIONS = {
    f"sqs:{action}Batch": f"sqs:{action}" for action in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")
}


def main() -> None:
    """Run the emulator until it is told to stop, or its starter is gone."""
    threading.Thread(target=_end_with_starter, name="starter", daemon=True).start()
    _correct_permissions()
    from ministack.app import main as run_emulator  # type: ignore[import-not-found]

    run_emulator()


def _end_with_starter() -> None:
    # Not `sys.stdin.read`, which would hold a lock that the interpreter wants when it ends.
    while os.read(STANDARD_INPUT, 1):
        pass
    # The functions run in processes of this group; without a group of our own we are all there is to end.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _correct_permissions() -> None:
    """Replace both in the emulator's modules, before the one is imported that uses them."""
    from ministack.core import iam_actions, iam_evaluator  # type: ignore[import-not-found]

    action_of: Callable[..., str | None] = iam_actions.extract_iam_action
    note_origin: Callable[[str, bool], None] = iam_evaluator.pin_request_origin

    def covering_action(*request: Any, **more: Any) -> str | None:
        action = action_of(*request, **more)
        return action if action is None else BATCH_ACTIONS.get(action, action)

    def note_origin_as_encrypted(address: str, secure: bool) -> None:
        note_origin(address, True)

    iam_actions.extract_iam_action = covering_action
    iam_evaluator.pin_request_origin = note_origin_as_encrypted


if __name__ == "__main__":
    main()
