"""What a recorded output comes to: the messages that it is or becomes, and the marks of batches at a fan-in."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace

from qualtrics_etl.catalogue import LEVEL_OF_FACT, Level
from qualtrics_etl.errors import PermanentError
from qualtrics_etl.ledger import How, Output
from qualtrics_etl.messages import WHOLE_RUN, FileParsed, Message
from qualtrics_etl.payloads import MAX_BATCHES, batch_name, halves_of

ARRIVALS_IN_BLOCK = 100


def messages_of(output: Output) -> Iterator[Message]:
    """Yield the messages that an output is, or can become: a mark, the one that follows when all have come."""
    message = Message.decode(output.message)
    match output.how:
        case How.SEND:
            yield message
        case How.EACH_BATCH:
            batches = each_batch_of(message)
            yield from batches
            yield from (fan_in_of(replace(message, service=name)) for name in output.waiting if not batches)
        case How.ARRIVE:
            yield fan_in_of(message)
        case How.SPLIT:
            pass


def fan_in_of(message: Message) -> Message:
    """Return what a service that waits for all batches is told, from what the last of them says.

    Only what is true of the whole run goes on, so that it does not matter which batch came last.
    """
    context = tuple(fact for fact in message.context if LEVEL_OF_FACT.get(type(fact)) is not Level.BATCH)
    return replace(message, batch=WHOLE_RUN, context=context)


def each_batch_of(message: Message) -> list[Message]:
    """Return the messages of a fan-out, one for each batch of the file.

    Raises:
        PermanentError: It is said that there are more than a run has.
    """
    total = message.fact(FileParsed).batches
    if total > MAX_BATCHES:
        raise PermanentError(
            f"The message for {message.service} (run {message.run}) says that there are {total} batches; a run has"
            f" at most {MAX_BATCHES}.",
            remedy="Look who sent it; delete it from the dead-letter queue when it is not ours.",
        )
    return [replace(message, batch=batch_name(number)) for number in range(total)]


def split_mark(batch: str) -> str:
    """Return the mark at a fan-in that two halves will arrive in a batch's place."""
    return f"{batch}=2"


def mark_of(how: How, batch: str) -> str | None:
    """Return the mark that an output leaves at a fan-in; None where it is none."""
    return {How.ARRIVE: batch, How.SPLIT: split_mark(batch)}.get(how)


def block_of(batch: str) -> int:
    """Return the block of marks in which a batch, or a part of it, is marked."""
    return int(batch.partition(".")[0]) // ARRIVALS_IN_BLOCK


def has_block(message: Message, marks: Set[str]) -> bool:
    """Whether all batches have come that are marked in the same block as this message's."""
    total, block = message.fact(FileParsed).batches, block_of(message.batch)
    numbers = range(block * ARRIVALS_IN_BLOCK, min(total, (block + 1) * ARRIVALS_IN_BLOCK))
    return all(_has_arrived(batch_name(number), marks) for number in numbers)


def missing_at(message: Message, marks: Set[str]) -> Iterator[str]:
    """Yield the batches for which a fan-in still waits."""
    names = (batch_name(number) for number in range(message.fact(FileParsed).batches))
    return (name for name in names if not _has_arrived(name, marks))


def _has_arrived(batch: str, marks: Set[str]) -> bool:
    if batch in marks:
        return True
    return split_mark(batch) in marks and all(_has_arrived(half, marks) for half in halves_of(batch))
