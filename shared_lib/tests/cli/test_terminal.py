"""Questions on a real terminal: what a person types, Ctrl-C, and an end of input."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios

import pytest

CONFIRM = """
from qualtrics_etl.cli.terminal import confirm
from qualtrics_etl.errors import ConfigurationError
try:
    print("answer", confirm("Do it?"))
except ConfigurationError as error:
    print("refused", error.what)
"""
LOADING = """
import sys

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "qualtrics_etl.cli.main":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
from qualtrics_etl.__main__ import main
main()
"""
PROD = """
from qualtrics_etl.deployment.deploy import ask_on_terminal
ask = ask_on_terminal()
print("answer", ask and ask("Deploy that, and the functions, to prod?"))
"""


def on_terminal(program: str, typed: bytes) -> str:
    """Run a program on a terminal of its own, type when it asks, and return what stands there at the end."""
    here, there = pty.openpty()

    def take_over() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=there, stdout=there, stderr=there, preexec_fn=take_over) as process:
        os.close(there)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(here, 1024)
        os.write(here, typed)
        try:
            while part := os.read(here, 1024):
                seen += part
        except OSError:  # Linux says so when the other end is closed
            pass
        process.wait(30)
    os.close(here)
    return seen.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("typed", "end"),
    [
        (b"y\n", "answer True"),
        (b"yes\n", "answer True"),
        (b"n\n", "answer False"),
        (b"\n", "answer False"),
        (b"\x03", "answer False"),
        (b"\x04", "refused Nobody can be asked here; nothing was changed."),
    ],
)
def test_question_is_answered_on_a_terminal(typed: bytes, end: str) -> None:
    """Only a yes is one: Enter alone and Ctrl-C are not, and an end of input is nobody."""
    assert on_terminal(CONFIRM, typed).splitlines()[-1].strip() == end


@pytest.mark.parametrize(("typed", "answer"), [(b"y\n", True), (b" YES \n", True), (b"\n", False), (b"prod\n", False)])
def test_prod_is_asked_for_on_a_terminal(typed: bytes, answer: bool) -> None:
    """The question before prod is changed: only a yes goes on."""
    said = on_terminal(PROD, typed)
    assert said.startswith("Deploy that, and the functions, to prod? [y/N] ")
    assert said.splitlines()[-1].strip() == f"answer {answer}"


def test_nobody_is_asked_where_there_is_no_terminal() -> None:
    """In a pipeline the environment's approval is the question."""
    result = subprocess.run([sys.executable, "-c", PROD], input="", capture_output=True, text=True, check=True)
    assert result.stdout == "answer None\n"


def test_ctrl_c_while_it_still_loads_is_no_traceback() -> None:
    """Whoever is quicker than the imports sees the prompt again, and nothing else."""
    command = [sys.executable, "-c", LOADING]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (130, "")
