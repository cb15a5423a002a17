"""A Terraform provider that knows the AWS provider's schema and nothing else.

`terraform validate`, and `terraform test` with mocked providers, need of a provider only which arguments there are.
This one serves them over a socket, and says yes to every other question: `python schema_provider.py SCHEMA SOCKET`.
When it listens, it prints what belongs into `TF_REATTACH_PROVIDERS`; it ends with its standard input.

Source: Terraform's plugin protocol, version 6 (the messages), and the page on debugging providers (reattachment). The
messages are encoded by hand: four of them, against a code generator and its run-time library.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

ADDRESS = "registry.terraform.io/hashicorp/aws"
PROTOCOL = 6
MAX_MESSAGE_BYTES = 64 << 20
NESTING = {"single": 1, "list": 2}

Block = dict[str, Any]


def main() -> None:
    """Serve the schema in the first argument's file on the socket that the second one names."""
    schema_file, socket = sys.argv[1:]
    answers = {"GetProviderSchema": encode_schema(json.loads(Path(schema_file).read_text(encoding="utf-8")))}
    options = [("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]
    server = grpc.server(ThreadPoolExecutor(4), handlers=[_Handler(answers)], options=options)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    sys.stdout.write(json.dumps({ADDRESS: _reattach(socket)}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(grace=None)


def _reattach(socket: str) -> dict[str, Any]:
    address = {"Network": "unix", "String": socket}
    return {"Protocol": "grpc", "ProtocolVersion": PROTOCOL, "Pid": os.getpid(), "Test": True, "Addr": address}


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Answers the provider service's calls with prepared bytes; an empty answer says that all is well."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = answers

    def service(self, call: Any) -> Any:
        service, name = call.method.strip("/").split("/")
        if service != f"tfplugin{PROTOCOL}.Provider":
            return None
        answer: Callable[[bytes, Any], bytes] = lambda _request, _context: self.answers.get(name, b"")  # noqa: E731
        return grpc.unary_unary_rpc_method_handler(answer)


def encode_schema(schema: Block) -> bytes:
    """Return the answer to GetProviderSchema."""
    content = _message(1, _schema(schema["provider"]))
    for number, kind in ((2, "resources"), (3, "data_sources")):
        for name, block in schema[kind].items():
            content += _message(number, _text(1, name) + _message(2, _schema(block)))
    return content


def _schema(block: Block) -> bytes:
    return _message(2, _block(block))


def _block(block: Block) -> bytes:
    content = b"".join(_message(2, _attribute(name, given)) for name, given in block["attributes"].items())
    return content + b"".join(_message(3, _nested(name, given)) for name, given in block["blocks"].items())


def _attribute(name: str, given: Block) -> bytes:
    required, optional, computed = (given["mode"].find(word) >= 0 for word in ("required", "optional", "computed"))
    content = _text(1, name) + _message(2, json.dumps(given["type"]).encode())
    content += _number(4, required) + _number(5, optional) + _number(6, computed)
    # The provider's own convention: a write-only argument ends so.
    return content + _number(11, name.endswith("_wo"))


def _nested(name: str, given: Block) -> bytes:
    content = _text(1, name) + _message(2, _block(given))
    content += _number(3, NESTING["single" if given["single"] else "list"])
    if given["single"]:
        return content
    return content + _number(4, given["required"]) + _number(5, 0 if given["many"] else 1)


def _varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + _varint(rest) if rest else bytes([head])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(int(value))


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


if __name__ == "__main__":
    main()
