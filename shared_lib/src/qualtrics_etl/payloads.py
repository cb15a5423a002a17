"""Where things of a run lie in the data bucket, and the request bodies that are sent again byte for byte."""

from __future__ import annotations

import hashlib

from qualtrics_etl.errors import EXPIRED, PermanentError
from qualtrics_etl.ports import ObjectStore

BATCH_DIGITS = 5
MAX_BATCHES = 10**BATCH_DIGITS
"""With more, the names of batches would no longer list in the order of their numbers."""
RUN_HASH_DIGITS = 12
POST_HASH_DIGITS = 20


def batch_name(number: int) -> str:
    """Return the batch id of a number: five digits, so that a listing is in order."""
    return f"{number:0{BATCH_DIGITS}}"


def batches_prefix(place: str) -> str:
    """Return where batches lie; `place` is `<run>/<service>`."""
    return f"payloads/{place}/batches"


def manifest_key(place: str) -> str:
    """Return where it is written what a file was cut into; `place` is `<run>/<service>`."""
    return f"payloads/{place}/manifest.json"


def reject_key(place: str, batch: str) -> str:
    """Return where the rows of a batch that can't go on are kept; `place` is `<run>/<service>`."""
    return f"rejects/{place}/{batch}.csv"


def outcome_key(place: str, batch: str) -> str:
    """Return where it is written what became of each row of a batch; `place` is `<run>/<service>`."""
    return f"outcomes/{place}/{batch}.csv"


def outcomes_prefix(place: str) -> str:
    """Return where the outcomes of a service's batches lie; `place` is `<run>/<service>`."""
    return f"outcomes/{place}/"


def rejects_beside(batches_at: str) -> str:
    """Return where the rejects lie that belong to the batches below `batches_at`."""
    return "rejects/" + batches_at.removeprefix("payloads/").removesuffix("/batches")


def rows_of_batch_key(batches_at: str, run: str, batch: str) -> str:
    """Return where the good rows of a batch lie; `batches_at` is where its file was cut to."""
    return half_key(run, batch) if is_derived(batch) else f"{batches_at}/{batch}"


def halves_of(batch: str) -> tuple[str, str]:
    """Return the derived batches that take the place of one that is too large for a service."""
    return f"{batch}.0", f"{batch}.1"


def is_derived(batch: str) -> bool:
    """Whether a batch is a part of another one."""
    return "." in batch


def half_key(run: str, batch: str) -> str:
    """Return where the rows of a derived batch lie.

    Not below the service that cut it: the services behind that one read it too, and whoever cuts the same batch again
    cuts it at the same row.
    """
    return f"payloads/{run}/halves/{batch}"


def sighting_key(service: str, digest: str) -> str:
    """Return the mark that a file, as it was seen at the client's, was taken."""
    return f"files/seen/{service}/{digest}"


def content_key(sha256: str, intake: str = "") -> str:
    """Return the ledger object that says whether a content was taken.

    Args:
        intake: Where the same content is input to another chain: what tells the two apart.
    """
    return f"files/{intake}/{sha256}" if intake else f"files/{sha256}"


def content_run(workflow: str, sha256: str, intake: str = "") -> str:
    """Return the id of the run that a content begins: made from the input, so that the same content is the same run.

    Args:
        intake: As in `content_key`.
    """
    run = f"{workflow}-{sha256[:RUN_HASH_DIGITS]}"
    return f"{run}-{intake}" if intake else run


def erased_key(run: str) -> str:
    """Return the record of what was erased of a run: it outlives the data."""
    return f"ledger/{run}/erased.json"


def post_key(service: str, idempotency_key_sha256: str) -> str:
    """Return the ledger object that says which content a client's key stands for, and whether its run has begun."""
    return f"files/posted/{service}/{idempotency_key_sha256}"


def post_run(workflow: str, service: str, idempotency_key_sha256: str) -> str:
    """Return the id of the run that a POST begins: made from the client's key, so that the same key is the same run.

    With more digits than the run of a content has, so that it is never taken for one.
    """
    digest = hashlib.sha256(f"{service}/{idempotency_key_sha256}".encode()).hexdigest()
    return f"{workflow}-{digest[:POST_HASH_DIGITS]}"


def posted_body_key(run: str, service: str, sha256: str) -> str:
    """Return where the body of a POST lies; the same bytes lie at the same place."""
    return f"payloads/{run}/{service}/{sha256}"


def checked_key(key: str, *, below: str) -> str:
    """Return a key that a message names, if it lies where such things lie.

    A message says where its data is; one that was not written by us must not lead to another run's.

    Args:
        below: The prefix that it must have, ending in a slash.

    Raises:
        PermanentError: It lies elsewhere.
    """
    segments = key.removeprefix(below).split("/")
    if not key.startswith(below) or any(segment in ("", ".", "..") for segment in segments):
        raise PermanentError(
            f"The message names {key[:80]!r}, and its data lies below {below}.",
            remedy="Look who sent it; delete it from the dead-letter queue when it is not ours.",
        )
    return key


def put_request(objects: ObjectStore, run: str, service: str, batch: str, body: bytes) -> tuple[str, str]:
    """Store the exact body of a request; return its key and SHA-256.

    The key carries the hash, so that two workers that build different bodies don't overwrite each other's: the one
    whose intent is recorded wins. It lies under `payloads/`, since it may hold personal data and must expire.
    """
    digest = hashlib.sha256(body).hexdigest()
    key = f"payloads/{run}/{service}/requests/{batch}-{digest[:16]}"
    objects.put(key, body)
    return key, digest


def put_rows(objects: ObjectStore, run: str, service: str, batch: str, body: bytes) -> str:
    """Store which row is what, beside the request and under its rules; return the key."""
    return put_request(objects, run, service, f"{batch}-rows", body)[0]


def get_rows(objects: ObjectStore, key: str) -> bytes:
    """Read back which row is what.

    Raises:
        PermanentError: It has expired.
    """
    found = objects.get(key)
    if found is None:
        raise PermanentError(f"What was stored of each row, {key}, is gone.", remedy=EXPIRED)
    return found.body


def get_request(objects: ObjectStore, key: str, sha256: str) -> bytes:
    """Read a request body back.

    Raises:
        PermanentError: It has expired, or was changed.
    """
    found = objects.get(key)
    if found is None or hashlib.sha256(found.body).hexdigest() != sha256:
        raise PermanentError(
            f"The stored request {key} is {'gone' if found is None else 'not what was recorded'}.",
            remedy=EXPIRED,
        )
    return found.body
