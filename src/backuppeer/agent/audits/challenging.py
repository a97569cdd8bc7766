"""One challenge: asked, answered, and what each sample of the answer is worth.

Knows: `AskAudit`, how what is shown is cut and verified. Must not know: which samples to ask for, what follows from an
answer. A challenge asks for at most 1 MiB, which is all that is held in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from backuppeer.agent.owner.testimony import receive_answer
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import IntegrityFault, ProtocolViolation
from backuppeer.limits import AUDIT_SAMPLE_LEAVES, AUDIT_SAMPLES, LEAF_BYTES
from backuppeer.proof.audits import UNANSWERED, AuditAnswer, Sample, Shown, check_shown, hash_shown, open_answer
from backuppeer.shares.sampling import Draw
from backuppeer.wire.auditing import AskAudit, Audited, ShownRow

_NOTHING: Final = (0, ())


@dataclass(frozen=True, slots=True)
class Piece:
    """What came of one draw. shown: None if it was not shown. is_wrong: signed, and not the bytes of the pack."""

    draw: Draw
    shown: Shown | None = None
    is_wrong: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A host's signed answer to a signed challenge, and its pieces in order."""

    challenge: bytes
    signed: bytes
    pieces: tuple[Piece, ...]


def cut_challenges(draws: Iterable[Draw]) -> Iterator[list[Draw]]:
    """Yield draws, each once, as many at a time as one challenge may ask for. Reads them lazily."""
    batch: list[Draw] = []
    asked: set[Sample] = set()
    leaves = 0
    for draw in draws:
        if draw.sample in asked:
            continue
        if len(batch) == AUDIT_SAMPLES or leaves + draw.leaves > AUDIT_SAMPLE_LEAVES:
            yield batch
            batch, leaves = [], 0
            asked.clear()
        batch.append(draw)
        asked.add(draw.sample)
        leaves += draw.leaves
    if batch:
        yield batch


async def put_challenge(partner: Partner, challenge: bytes, draws: Sequence[Draw], *, owner: bytes) -> Answer:
    """Ask a host to show what a signed challenge names, which are `draws` in order; `owner`: who signed it.

    Raises:
        AuthenticationFault, ProtocolViolation: the answer is not its word, or it shows other bytes than it signed.
        RefusedError, Unavailable: as `testimony.receive_answer`.

    """
    session = await partner.session()
    async with session.request(AskAudit(agreement=partner.agreement, signed=challenge)) as channel:
        said = await receive_answer(channel, Audited, is_challenge=True)
        answer, _ = open_answer(said.signed, challenge, host=partner.peer, owner=owner)
        _check_rows(said.shown, answer)
        pieces = [
            await _take_piece(channel, draw, row, promised)
            for draw, row, promised in zip(draws, said.shown, answer.answers, strict=True)
        ]
    return Answer(challenge, said.signed, tuple(pieces))


def _check_rows(rows: Sequence[ShownRow], answer: AuditAnswer) -> None:
    if len(rows) != len(answer.answers):
        raise ProtocolViolation(f"{len(rows)} rows beside {len(answer.answers)} answers")
    for row, promised in zip(rows, answer.answers, strict=True):
        if (promised == UNANSWERED) != (tuple(row) == _NOTHING):
            raise ProtocolViolation("it shows what it did not answer, or the other way round")


async def _take_piece(channel: Channel, draw: Draw, row: ShownRow, promised: bytes) -> Piece:
    """Read the bytes of a sample, which follow in order, and judge them."""
    if promised == UNANSWERED:
        return Piece(draw)
    first = draw.first_leaf * LEAF_BYTES
    # By the length that it claims, as it cuts them itself; that a wrong length is a lie, the path tells.
    size = min(row.length - first, draw.leaves * LEAF_BYTES)
    if size <= 0:
        raise ProtocolViolation("it shows a range beyond the end of the pack")
    data = bytearray(size)
    await channel.receive_into(memoryview(data))
    shown = Shown(row.length, data, tuple(row.path))
    # What it signed is what counts, and what could be shown to others.
    if hash_shown(shown) != promised:
        raise ProtocolViolation("it signed other bytes than it shows")
    try:
        check_shown(draw.sample, shown)
    except IntegrityFault:
        return Piece(draw, shown, is_wrong=True)
    return Piece(draw, shown)
