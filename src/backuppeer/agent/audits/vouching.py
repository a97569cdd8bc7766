"""Whether a host has all that it should, before something is given up for it: its signed word, and random leaves.

Knows: acknowledgements, ranges with their Merkle paths. Must not know: what is given up. A host signs for a pack when
it looked at the row and the file's length (ADR 42); so bytes are asked for besides, of packs that nobody can foresee.
Fails closed: no word, a word upon another head, or an answer that does not hold, is a no.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, islice

from backuppeer.agent.brake import brake_of_job
from backuppeer.agent.owner.fetch import check_range, read_range
from backuppeer.agent.owner.losses import measure_named
from backuppeer.agent.owner.testimony import ask_ack, ask_again
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import IntegrityFault, LocalError, RefusedError
from backuppeer.ids import StoredId
from backuppeer.limits import (
    ACK_PACKS,
    LEAF_BYTES,
    LOSSES_NAMED,
    REPLACE_SAMPLE_SHARE,
    REPLACE_SAMPLES_LEAST,
    SAMPLES_AT_ONCE,
)
from backuppeer.proof.custody import Standing
from backuppeer.proof.merkle import count_leaves
from backuppeer.proof.statements import statement_hash
from backuppeer.shares.copies import Copy

_MEND = "`backup-peer check --read-data` says what it has, `backup-peer backup` sends it again what it lost"


async def hear_word(vault: Vault, partner: Partner, copies: Sequence[Copy]) -> None:
    """Have a host sign that it keeps each of these copies, upon the newest head, which it was left before.

    Raises:
        IntegrityFault: it does not sign for some of them, which it had acknowledged when they were stored.
        RefusedError: its version signs nothing, or its word is not upon that head.
        PeerFault, Unavailable: as `testimony.ask_ack`.

    """
    newest = vault.heads.newest()
    if newest is None:
        raise LocalError("there is no head that a host could sign upon")
    standing = Standing(
        partner.agreement, statement_hash(vault.terms(partner)), statement_hash(newest[1]), newest[0].number
    )
    missing: list[Copy] = []
    rest = iter(copies)
    while batch := list(islice(rest, ACK_PACKS)):
        told = await ask_ack(partner, [copy.stored for copy in batch], vault.clock)
        named: set[StoredId] = set()
        if told is not None:
            _, said, packs = told
            if said.standing != standing:
                raise RefusedError(
                    f"{partner.name} signs upon another head or agreement than this home knows",
                    hint="run the same again: the newest state is left with it first",
                )
            named = set(packs)
        missing += [copy for copy in batch if copy.stored not in named]
    if missing:
        lost_bytes = await asyncio.to_thread(measure_named, vault.repository, newest[0], missing)
        what = f"{partner.name} does not answer for {len(missing)} of {len(copies)} packs: {_name(missing)}"
        raise IntegrityFault(what, hint=_MEND, lost_bytes=lost_bytes)


async def show_samples(vault: Vault, partner: Partner, copies: Sequence[Copy], on_shown: Callable[[int], None]) -> None:
    """Have a host show a leaf drawn at random, with its path, of a random sample of copies; `on_shown` counts them.

    Raises:
        IntegrityFault: it does not give some of them, or gives them wrong.
        Unavailable: it went away.

    """
    places, shown, missing = asyncio.Semaphore(SAMPLES_AT_ONCE), count(1), list[Copy]()

    async def show(copy: Copy, leaf: int) -> None:
        async with places:
            try:
                await ask_again(partial(_read_leaf, partner, copy, leaf), vault.clock)
            except (RefusedError, IntegrityFault):
                missing.append(copy)
            on_shown(next(shown))

    drawn = list(draw_sample(copies, random.SystemRandom()))
    tasks = [asyncio.create_task(show(copy, leaf)) for copy, leaf in drawn]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if missing:
        lost_bytes = await asyncio.to_thread(
            measure_named, vault.repository, vault.heads.vouched_head(partner), missing
        )
        what = (
            f"{partner.name} does not show {len(missing)} of {len(drawn)} packs, or shows them wrong: {_name(missing)}"
        )
        raise IntegrityFault(what, hint=_MEND, lost_bytes=lost_bytes)


async def _read_leaf(partner: Partner, copy: Copy, leaf: int) -> None:
    into = memoryview(bytearray(min(LEAF_BYTES, copy.size - leaf * LEAF_BYTES)))
    await brake_of_job().held()
    data, path = await read_range(partner, copy.stored, leaf, into)
    check_range(copy.stored, copy.size, leaf, data, path)


def draw_sample(copies: Sequence[Copy], chance: random.Random) -> Iterator[tuple[Copy, int]]:
    """Yield REPLACE_SAMPLES_LEAST copies, or REPLACE_SAMPLE_SHARE of them if that is more, each with one of its leaves.

    A pack is drawn once at most: which of its leaves comes is left to chance.
    """
    wanted = max(REPLACE_SAMPLES_LEAST, len(copies) // REPLACE_SAMPLE_SHARE)
    for copy in chance.sample(copies, min(wanted, len(copies))):
        yield copy, chance.randrange(count_leaves(copy.size))


def _name(copies: Sequence[Copy]) -> str:
    shown = ", ".join(copy.logical.hex()[:8] for copy in copies[:LOSSES_NAMED])
    return f"{shown} and {len(copies) - LOSSES_NAMED} more" if len(copies) > LOSSES_NAMED else shown
