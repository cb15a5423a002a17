"""Each POST of the client's, signed and with a key of its own, comes into our store, once."""

from __future__ import annotations

from qualtrics_etl import ReceivePost, lambda_handler


class ReceiveClientPost(ReceivePost):
    """How long a signature counts is in config/; nothing of it is special here."""


handler = lambda_handler(ReceiveClientPost)
