"""What the client POSTs is taken in: only with its signature, and each of the client's keys once.

POST ──signature──> stored ──> claimed by the client's key ──> a message to the own queue ──> 202, and a run begins

Whatever stops between two of these, the client hears no 202 and sends the same again, which goes on from there.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, final

from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.channels.http_requests import HttpRequest, http_answer, read_request
from qualtrics_etl.channels.signatures import (
    KEY_HEADER,
    NAME_HEADER,
    SIGNATURE_HEADER,
    SignedPost,
    check_signature,
    read_signature,
    signing_secrets,
)
from qualtrics_etl.errors import (
    ConfigurationError,
    NotYetError,
    PermanentError,
    RequestRefusedError,
    RetryableError,
)
from qualtrics_etl.ledger import Entry, Held, How, Output, State
from qualtrics_etl.messages import WHOLE_RUN, FileFetched, FilePosted, Message
from qualtrics_etl.payloads import checked_key, post_key, post_run, posted_body_key
from qualtrics_etl.settings import PostSettings
from qualtrics_etl.steps.base import Delivery
from qualtrics_etl.steps.outcomes import Ended, text_of
from qualtrics_etl.steps.repeatable import RepeatableStep

RETRY_AFTER_SECONDS = 30
"""When a client repeats a POST that could not be stored."""
DEFAULT_NAME = "post.csv"
"""The file's name, where the client gives none."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,127}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+-]{0,127}")
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class ReceivePost(RepeatableStep):
    """Take in what the client POSTs.

    Each key of the client is one run, and stands for one content for good. The same content under another key is
    another run: the client says so by the key.
    """

    kind: ClassVar[Kind] = catalogue.RECEIVE_POST

    # --- the request ------------------------------------------------------------------------------------------------

    @final
    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a request of an HTTP API, in its terms; 202 only when nothing can be lost any more.

        Raises:
            PermanentError: A fault of ours that a repeat does not mend; the HTTP API answers 500.
        """
        try:
            return http_answer(202, self._take(read_request(event)))
        except RequestRefusedError as error:
            self._log(logging.WARNING, "post_refused", None, status=error.status, error=error.what)
            return http_answer(error.status, {"error": error.what, "remedy": error.remedy})
        except ConfigurationError as error:
            self._log(logging.ERROR, "setting_wrong", None, error=str(error))
            return _later("The receiver is not set up.")
        except (RetryableError, NotYetError) as error:
            self._log(logging.WARNING, "post_failed", None, error=str(error))
            return _later("The POST could not be stored.")
        except Exception as error:
            # Lambda logs what is raised: a foreign text could quote what the client sent.
            raise PermanentError(
                f"A POST to {self.service} was not taken: {text_of(error)}.",
                remedy="Mend what is named; the client sends the POST again.",
            ) from None

    def _take(self, request: HttpRequest) -> dict[str, object]:
        """Bring a request to where its run is sure to begin; return what the client is told."""
        if request.method != "POST":
            raise RequestRefusedError("Only a POST is taken.", status=405, remedy="Send a POST.")
        posted, run = self._read(request, self._check_signature(request))
        held = self._claim(run, posted, request.body)
        recorded = held.entry.fact
        if not isinstance(recorded, FilePosted):
            raise PermanentError(f"The ledger object {held.key} is none of a POST.")
        if recorded.sha256 != posted.sha256:
            raise RequestRefusedError(
                "The key was used before, for another content.",
                status=409,
                field="Idempotency-Key",
                remedy="Give each content a key of its own; only an exact repeat has the key of the first.",
            )
        if held.entry.state is State.INTENT:
            # From what was claimed, and not from now: whoever repeats it sends the same message.
            self.start(run, recorded, recorded.expires_at)
        self._log(logging.INFO, "post_received", None, run=run, bytes=posted.size)
        return {"run": run, "sha256": posted.sha256, "bytes": posted.size}

    def _check_signature(self, request: HttpRequest) -> int:
        """Return when it was signed; nothing else of the request was looked at before."""
        header = request.header(SIGNATURE_HEADER)
        time, _ = read_signature(header)  # what is none costs no look at a secret
        post = SignedPost(self.service, request.header(KEY_HEADER), request.header(NAME_HEADER), request.body)
        check_signature(
            header,
            post,
            secrets=signing_secrets(self._wiring.secrets.get("post_signing_secret")),
            now=self._wiring.clock.now(),
            window_seconds=self._settings_of_posts.replay_window_seconds,
        )
        return int(time)

    @property
    def _settings_of_posts(self) -> PostSettings:
        config = self._wiring.config
        if config.post is None:
            raise ConfigurationError(
                f"config/{config.stage}.yml has no `post`.", remedy="Write `replay_window_seconds: 300` below `post:`."
            )
        return config.post

    def _read(self, request: HttpRequest, signed_at: int) -> tuple[FilePosted, str]:
        """Return what is posted and the run that it is.

        Raises:
            RequestRefusedError: The key, the name, the content's type or the body can't be used.
        """
        key, name = request.header(KEY_HEADER), request.header(NAME_HEADER) or DEFAULT_NAME
        if not _KEY.fullmatch(key):
            raise RequestRefusedError(
                "The POST has no `Idempotency-Key`, or one that can't be used.",
                status=400,
                field="Idempotency-Key",
                remedy="Give 8 to 128 letters, digits and . _ : -, the same ones when the same POST is repeated.",
            )
        if not _NAME.fullmatch(name):
            raise RequestRefusedError(
                "The `X-File-Name` can't be used.",
                status=400,
                field="X-File-Name",
                remedy="Give up to 128 letters, digits, blanks and . _ ( ) + -, without a folder; or leave it out.",
            )
        if request.header("content-type").partition(";")[0].strip().lower() in _FORMS:
            raise RequestRefusedError(
                "The POST is a form, and not the file.",
                status=415,
                field="Content-Type",
                remedy="Send the file itself as the body, as `application/octet-stream`.",
            )
        if not request.body:
            raise RequestRefusedError("The POST is empty.", status=400, remedy="Send the file as the body.")
        key_sha256, sha256 = hashlib.sha256(key.encode()).hexdigest(), hashlib.sha256(request.body).hexdigest()
        run = post_run(self._wiring.workflow.name, self.service, key_sha256)
        body_key = posted_body_key(run, self.service, sha256)
        return FilePosted(key_sha256, signed_at, name, body_key, len(request.body), sha256), run

    def _claim(self, run: str, posted: FilePosted, body: bytes) -> Held:
        """Return what the client's key stands for: this, which is stored first, or what came under it before."""
        key, intent = post_key(self.service, posted.idempotency_key_sha256), Entry(State.INTENT, fact=posted)
        held = self._ledger.read(key)
        if held is None:
            self._wiring.objects.put(posted.key, body)
            return self._ledger.claim(key, intent)
        if held.entry.state is State.INTENT and _is_forgotten(held, posted):
            # Its run never began, and its message would be refused as expired.
            self._wiring.objects.put(posted.key, body)
            return self._ledger.change(held, intent)
        return held

    # --- its message ------------------------------------------------------------------------------------------------

    @override
    def _work(self, message: Message, delivery: Delivery) -> Ended:
        posted = message.fact(FilePosted)
        key = checked_key(posted.key, below=f"payloads/{message.run}/{self.service}/")
        fetched = FileFetched(posted.name, key, posted.size, posted.sha256)
        begun = replace(message, context=())
        outputs = tuple(
            Output(How.SEND, begun.after(service, fetched, batch=WHOLE_RUN).encode())
            for service in self._wiring.workflow.next_of(self.service)
        )
        return Ended(fact=fetched, outputs=outputs)

    @override
    def _finish(self, message: Message, entry: Entry) -> None:
        """Say that the run has begun: a repeat of the POST then sends nothing any more."""
        if entry.state is State.DONE and isinstance(entry.fact, FileFetched):
            posted = message.fact(FilePosted)
            key = post_key(self.service, posted.idempotency_key_sha256)
            self._ledger.settle(key, Entry(State.DONE, fact=posted))


def _is_forgotten(held: Held, posted: FilePosted) -> bool:
    recorded = held.entry.fact
    if not isinstance(recorded, FilePosted) or recorded.sha256 != posted.sha256:
        return False
    return recorded.expires_at <= held.read_at


def _later(what: str) -> dict[str, Any]:
    remedy = f"Send the same POST again, with the same key and signed anew, after {RETRY_AFTER_SECONDS} seconds."
    return http_answer(503, {"error": what, "remedy": remedy}, retry_after_seconds=RETRY_AFTER_SECONDS)
