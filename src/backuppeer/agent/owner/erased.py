"""Deletes that somebody signed with this owner's keys, as a host shows them when packs are gone (ADR 53).

Knows: what makes such a delete excuse a host. Must not know: what is gone and why, what follows. A thief of the keys
can have everything deleted, and when the lock is over an honest host has nothing to show but the signed request. It
excuses exactly the packs that it names, and only if it names the newest head, which this host countersigned: so it was
signed after that head said that the packs are part of it. An older delete was overtaken by a head that names them.
What no head is known to name is less: there any signed request does.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial

from backuppeer.agent.owner.heads import Vouched
from backuppeer.agent.owner.testimony import ask_again, receive_answer
from backuppeer.agent.peers.partners import Partner
from backuppeer.clock import Clock
from backuppeer.errors import PeerFault, PeerUnreachable, ProtocolViolation, RefusedError
from backuppeer.ids import PeerId, StoredId
from backuppeer.limits import REFRESH_S, REMOVALS_PER_AGREEMENT
from backuppeer.proof.removals import PackDelete, check_countersigned, open_removal
from backuppeer.proof.writer import FIRST_EPOCH
from backuppeer.wire.auditing import DeleteIs, GetDelete


def say_erased(name: str, packs: int) -> str:
    """Return what a person is told of packs that a host erased upon a signed request."""
    count = "1 pack of your backups was" if packs == 1 else f"{packs} packs of your backups were"
    return (
        f"{name}: {count} deleted by somebody with your keys: {name} shows the signed request, and is not to blame. "
        f"What it still has, `backup-peer peers undelete {shlex.quote(name)}` brings back; what is erased, the next "
        "backup sends again. If it was neither you nor another machine of yours, somebody has your keys: "
        "`backup-peer recover --take-over`, on a machine that is clean"
    )


async def hear_deletes(
    partner: Partner,
    gone: AbstractSet[StoredId],
    vouched: Vouched | None,
    *,
    clock: Clock,
    lock_s: int,
    listed: AbstractSet[StoredId] = frozenset(),
) -> set[StoredId]:
    """Return those of missing packs that the host may lack, since it shows the signed request to delete them.

    `vouched`: the newest head, if this host countersigned it; without one nothing is excused. `lock_s`: for how long
    it agreed to keep them. `listed`: what it still holds as deleted; all else may be gone only when the lock can be
    over, counted from the time of the head, since nobody could delete upon it before.

    Raises:
        Unavailable: it went away, or tells too slowly.

    """
    is_over = vouched is not None and clock.now_ms() - vouched.head.time_ms >= 1000 * lock_s
    wanted = set(gone) if is_over else gone & listed
    excused = set[StoredId]()
    if vouched is None or not wanted:
        return excused
    async with _believing():
        async for packs in _read_deletes(partner, vouched, clock):
            excused |= wanted & packs
            if excused == wanted:
                break
    return excused


async def hear_any_deletes(
    partner: Partner, wanted: AbstractSet[StoredId], owner: PeerId, clock: Clock
) -> set[StoredId]:
    """Return those of packs that some request names which our identity, `owner`, signed, upon whatever head.

    That excuses a host only from what it need not have: packs of which nobody says that the newest head names them.

    Raises:
        Unavailable: it went away, or tells too slowly.

    """
    found, agreement = set[StoredId](), partner.agreement
    if not wanted:
        return found
    async with _believing():
        async for answer in _read_answers(partner, clock):
            check = partial(open_removal, PackDelete, answer.signed, answer.packs, owner=owner, agreement=agreement)
            await asyncio.to_thread(check)
            found |= wanted & set(answer.packs)
            if found == wanted:
                break
    return found


@asynccontextmanager
async def _believing() -> AsyncIterator[None]:
    """End quietly at what does not count: what was shown until then does.

    Raises:
        PeerUnreachable: it takes too long.

    """
    try:
        async with asyncio.timeout(REFRESH_S):
            yield
    except (RefusedError, PeerFault):
        pass  # a host of before, or words that are not ours
    except TimeoutError as exc:
        raise PeerUnreachable("it shows too slowly what it was asked to delete") from exc


async def _read_deletes(partner: Partner, vouched: Vouched, clock: Clock) -> AsyncIterator[set[StoredId]]:
    """Yield the packs of each request upon a head, newest first.

    Raises:
        AuthenticationFault, ProtocolViolation: it is not our word, or not in order.
        RefusedError, Unavailable: as `receive_answer`.

    """
    async for answer in _read_answers(partner, clock):
        said = await asyncio.to_thread(_open, partner, vouched, answer)
        if said.head_hash != vouched.name:
            return  # a host takes only requests that name the head it holds: all before are of earlier heads
        yield set(answer.packs)


async def _read_answers(partner: Partner, clock: Clock) -> AsyncIterator[DeleteIs]:
    """Yield each request that a host kept, newest first, unverified; raises as `_read_deletes`."""
    before = 0
    for _ in range(REMOVALS_PER_AGREEMENT):
        answer = await ask_again(partial(_ask, partner, before), clock)
        if not answer.number:
            return
        if before and answer.number >= before:
            raise ProtocolViolation("the host's requests to delete packs are out of order")
        before = answer.number
        yield answer


def _open(partner: Partner, vouched: Vouched, answer: DeleteIs) -> PackDelete:
    """Return a request, having checked who signed it, as its host had to (ADR 35)."""
    said = open_removal(PackDelete, answer.signed, answer.packs, owner=vouched.owner, agreement=partner.agreement)
    if said.head_hash == vouched.name and vouched.head.epoch > FIRST_EPOCH:
        check_countersigned(
            PackDelete, answer.signed, answer.device_sig, grant=vouched.grant, authority=vouched.authority
        )
    return said


async def _ask(partner: Partner, before: int) -> DeleteIs:
    session = await partner.session()
    async with session.request(GetDelete(agreement=partner.agreement, before=before)) as channel:
        return await receive_answer(channel, DeleteIs)
