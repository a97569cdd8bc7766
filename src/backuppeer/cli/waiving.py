"""What takes the 24 words: told, asked, signed (ADR 52).

Knows: that a person agrees before the words are typed. Must not know: what is waived. The words, and what they stand
for, stay in this process.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backuppeer.cli import homes
from backuppeer.cli.context import Context
from backuppeer.cli.wording import decode_master, read_words
from backuppeer.errors import DeclinedError, InterruptedByUserError

if TYPE_CHECKING:  # crypto libraries
    from backuppeer.proof.waivers import Waiver


@dataclass(frozen=True, slots=True)
class Question:
    """lines: what it means, before it is asked. unanswered: why silence is no yes. unchanged: what a no leaves."""

    lines: Iterable[str]
    question: str
    unanswered: str
    unchanged: str


def sign_once_agreed(
    context: Context, question: Question, way: str, make: Callable[[], "Sequence[Waiver]"]
) -> list[bytes]:
    """Return the signed words that `make` returns, once a person has agreed and typed the 24 words.

    way: the command by which they can be given on standard input.

    Raises:
        DeclinedError: the person said no.
        InterruptedByUserError: stopped before the words were there.
        UserError: nobody answered, or those are no words of this home.

    """
    try:
        _agree(context, question)
        master = decode_master(context.screen, read_words(context.screen, way))
    except KeyboardInterrupt:
        raise InterruptedByUserError(f"stopped: {question.unchanged}") from None
    return homes.sign_waivers(context.home, master, make())


def _agree(context: Context, question: Question) -> None:
    screen = context.screen
    if not screen.json:
        for line in question.lines:
            screen.aside(line, hang=4)
    if not screen.confirm(question.question, unanswered=question.unanswered):
        raise DeclinedError(f"{question.unchanged}: you said no")
