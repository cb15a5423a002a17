"""States of a stack that no emulator gets into: a server speaks for CloudFormation, in the words of its API."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from typing_extensions import override

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.stacks import GONE, WORTHLESS, await_stack
from qualtrics_etl.deployment.changes import Changes
from qualtrics_etl.deployment.plan import differences_of
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.deployment.serverless import remove_functions, settle_stack
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.errors import PermanentError, QualtricsEtlError

NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"
REASON = "The bucket that it needs is not empty."


@dataclass
class Stack:
    """A stack that goes through states, one each time somebody looks.

    Attributes:
        states: Those to come; the last one stays. A stack that is gone is an empty text.
        deleted: States that it goes through from when it is deleted.
        calls: What was asked.
    """

    states: list[str]
    deleted: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def answer(self, action: str) -> tuple[int, str]:
        """Return status and body of an answer."""
        self.calls.append(action)
        if action == "DeleteStack":
            self.states = self.deleted
            return 200, _result(action, "")
        if action == "DescribeStackEvents":
            event = (
                "<StackId>s</StackId><EventId>e</EventId><StackName>s</StackName><LogicalResourceId>Queue"
                "</LogicalResourceId><ResourceStatus>DELETE_FAILED</ResourceStatus><ResourceStatusReason>"
                f"{REASON}</ResourceStatusReason><Timestamp>2026-11-22T09:00:00Z</Timestamp>"
            )
            return 200, _result(action, f"<StackEvents><member>{event}</member></StackEvents>")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if not state:
            error = "<Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id s does not exist</Message>"
            return 400, f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{error}</Error></ErrorResponse>'
        stack = (
            "<StackId>s</StackId><StackName>s</StackName><CreationTime>2026-11-22T09:00:00Z</CreationTime>"
            f"<StackStatus>{state}</StackStatus>"
        )
        return 200, _result(action, f"<Stacks><member>{stack}</member></Stacks>")


def _result(action: str, content: str) -> str:
    return (
        f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{content}</{action}Result>'
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    )


@pytest.fixture
def serve(stage: Stage) -> Iterator[Callable[[Stack], Stage]]:
    """Return a stage whose stack is the given one."""
    servers: list[ThreadingHTTPServer] = []

    def start(stack: Stack) -> Stage:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                status, text = stack.answer(asked["Action"][0])
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            @override
            def log_message(self, format: str, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{servers[-1].server_port}"
        return replace(stage, access=AwsAccess(stage.access.region, address, ("test", "test")))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_busy_stack_is_waited_for(serve: Callable[[Stack], Stage], report: Report) -> None:
    """What an interrupted deploy began goes to its end first; then the stack is left as it is."""
    stack = Stack(["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"])
    settle_stack(serve(stack), report)
    assert (stack.calls, stack.states) == (["DescribeStacks"] * 3, ["UPDATE_COMPLETE"])


def test_way_back_is_waited_for_too(serve: Callable[[Stack], Stage], report: Report) -> None:
    """An update that goes back by itself ends in a stack that takes the next one."""
    stack = Stack(["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"])
    settle_stack(serve(stack), report)
    assert "DeleteStack" not in stack.calls


@pytest.mark.parametrize("before", [[], ["UPDATE_ROLLBACK_IN_PROGRESS"]])
def test_stack_that_found_no_way_back_is_a_persons(
    serve: Callable[[Stack], Stage], report: Report, before: list[str]
) -> None:
    """It is not deleted, since functions of it work; the command that mends it is named."""
    stack = Stack([*before, "UPDATE_ROLLBACK_FAILED"])
    stage = serve(stack)
    with pytest.raises(PermanentError) as caught:
        settle_stack(stage, report)
    command = f"aws cloudformation continue-update-rollback --stack-name {stage.prefix} --region {stage.access.region}"
    assert str(caught.value) == (
        f"The stack {stage.prefix} is in UPDATE_ROLLBACK_FAILED: an update failed, and so did the way back."
        f" Run `{command}`, wait for its end, then deploy again."
    )
    assert "DeleteStack" not in stack.calls


@pytest.mark.parametrize("state", sorted(WORTHLESS))
def test_stack_in_which_nothing_works_is_deleted(serve: Callable[[Stack], Stage], report: Report, state: str) -> None:
    """A first deploy that failed leaves a stack that takes no update: it goes, and sls makes it anew."""
    stack = Stack(["ROLLBACK_IN_PROGRESS", state], deleted=["DELETE_IN_PROGRESS", GONE])
    settle_stack(serve(stack), report)
    assert stack.calls.count("DeleteStack") == 1


def test_stack_that_can_not_be_deleted_says_what_holds_it(serve: Callable[[Stack], Stage], report: Report) -> None:
    """The resource and AWS' reason are named, by deploy and by destroy."""
    for work in (settle_stack, remove_functions):
        stack = Stack(["ROLLBACK_COMPLETE"], deleted=["DELETE_IN_PROGRESS", "DELETE_FAILED"])
        stage = serve(stack)
        with pytest.raises(PermanentError) as caught:
            work(stage, report)
        assert str(caught.value) == (
            f"CloudFormation could not delete the stack {stage.prefix} (DELETE_FAILED): Queue, {REASON} Take away what"
            " holds it, then run the same command again."
        )


def test_endless_work_is_given_up_after_half_an_hour(serve: Callable[[Stack], Stage]) -> None:
    """Somebody is sent to look; the waiting ends."""
    stage, slept, seen = serve(Stack(["UPDATE_IN_PROGRESS"])), list[float](), list[str]()
    with pytest.raises(QualtricsEtlError, match=r"for half an hour\. Look at its events"):
        await_stack(stage.access, stage.prefix, progress=seen.append, sleep=slept.append, poll_seconds=60)
    assert (sum(slept), set(seen)) == (1800, {"UPDATE_IN_PROGRESS"})


@pytest.mark.parametrize("state", ["UPDATE_ROLLBACK_FAILED", "ROLLBACK_COMPLETE"])
def test_drift_tells_of_a_stack_that_does_not_work(serve: Callable[[Stack], Stage], state: str) -> None:
    """At night it is said, and not only by the next deploy."""
    stage = serve(Stack([state]))
    said = differences_of(stage, Changes((), (), is_empty=True))
    assert said == [f"the functions do not work: the stack {stage.prefix} is in {state}"]
