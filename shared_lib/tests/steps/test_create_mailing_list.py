"""One list a run, named so that it can be found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import CreateMailingList, RunContext
from qualtrics_etl.messages import MailingListCreated, Message

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place


class Named(CreateMailingList):
    """Named by the test."""

    name: object = ""

    @override
    def build_name(self, *, context: RunContext) -> str:
        return self.name  # type: ignore[return-value]  # the mistake that is tested


def named(name: object) -> type[CreateMailingList]:
    """Return a step whose hook answers this."""
    return type("NamesBranches", (Named,), {"name": name})


def test_list_is_named_after_the_file(place: Place) -> None:
    """The default is the client's file name, with the run's hash."""
    place.send(place.message("create_mailing_list", place.file(b"", name="märz.csv")))
    place.deliver("create_mailing_list")
    assert place.lists() == ["märz.csv [0123456789ab]"]


@pytest.mark.parametrize("name", ["Branches", "x" * 85, "x" * 86, "x" * 300])
def test_name_of_a_hook_is_cut_to_what_qualtrics_takes(place: Place, name: str) -> None:
    """Whatever the hook's name is long, the hash that the list is found by stays."""
    place.steps["create_mailing_list"] = named(name)
    place.order_list()
    place.deliver("create_mailing_list")
    assert place.lists() == [f"{name[:85]} [0123456789ab]"]


@pytest.mark.parametrize(("answer", "what"), [(None, "a NoneType"), (7, "a int"), ("  ", "an empty text")])
def test_wrong_answer_of_the_hook_is_named(place: Place, answer: object, what: str) -> None:
    """What is no name says which hook returned it, and is not quoted."""
    place.steps["create_mailing_list"] = named(answer)
    place.order_list()
    place.run()
    assert place.cause("create_mailing_list") == (
        f"NamesBranches.build_name returned {what}. Return the list's name, as text."
    )


def test_next_service_hears_of_the_list(place: Place) -> None:
    """Id and name go on."""
    place.order_list()
    place.deliver("create_mailing_list")
    (message,) = [Message.decode(each.body) for each in place.waiting("import_contacts")]
    list_id = next(iter(place.simulator.state.mailing_lists))
    assert message.fact(MailingListCreated) == MailingListCreated(list_id, "acme-etl [0123456789ab]")
    assert message.batch == "00000"


def test_hook_hears_of_the_run(place: Place) -> None:
    """The context names run, stage, service, file and rows."""
    seen: list[RunContext] = []

    class Listens(CreateMailingList):
        @override
        def build_name(self, *, context: RunContext) -> str:
            seen.append(context)
            return "x"

    place.steps["create_mailing_list"] = Listens
    place.send(place.message("create_mailing_list", place.file(b"")))
    place.deliver("create_mailing_list")
    assert seen == [
        RunContext(
            workflow="acme-etl",
            stage="local",
            service="create_mailing_list",
            run="acme-etl-0123456789ab",
            batch="all",
            file_name="contacts.csv",
            rows=None,
            now=place.clock.now(),
        )
    ]
