"""What a host claims to have of a pack can't be more than what went to it."""

import asyncio

import pytest

from agent.hosted import hosted
from agent.houses import WISH
from agent.owner.test_transfer import Redial, Run, draft_of, noise
from backuppeer.agent.peers import retry as retry_module
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import PeerUnreachable, ProtocolViolation
from backuppeer.limits import MIB
from backuppeer.wire.messages import Proceed, PutPack, Stored


def upload_to_liar(house, owner, lie):
    """Upload one pack to a host that does `lie(its put, channel)` when it is offered one."""
    agreement, ended = owner.agree_with(house, (16 * MIB, *WISH[1:])), []

    async def serve(_, channel):
        await lie(await channel.receive(PutPack), channel)
        await channel.finish()
        await channel.wait_end()

    async def scenario():
        async with hosted(house, owner, serve=serve) as link:
            run = Run(owner, [Partner(agreement, house.peer, "alice", Redial(link))])
            try:
                await run.store(draft_of(owner, noise(1, 300_000)))
            except ProtocolViolation as exc:
                ended.append(exc)
            return run, ended

    return asyncio.run(scenario())


async def have_all(put, channel):
    await channel.send(Proceed(have=put.size))
    await channel.send(Stored())


async def have_more(put, channel):
    await channel.send(Proceed(have=put.size + 1))
    await channel.send(Stored())


async def have_stored(_, channel):
    await channel.send(Stored())


@pytest.mark.parametrize("lie", [have_all, have_more, have_stored])
def test_a_host_that_claims_bytes_of_a_pack_that_no_byte_went_of_is_not_believed(house, owner, lie):
    run, ended = upload_to_liar(house, owner, lie)
    assert "alice claims to have" in ended[0].message
    assert (run.copies, run.upload.sent_bytes) == ([], 0)


def test_after_a_cut_a_host_may_have_what_was_sent_and_no_more(house, owner, monkeypatch):
    monkeypatch.setattr(retry_module, "RETRY_FIRST_S", 0.001)
    tries = []

    async def lie(put, channel):
        tries.append(put)
        await channel.send(Proceed(have=0 if len(tries) == 1 else put.size + 1))
        if len(tries) == 1:
            raise PeerUnreachable("it hangs up")

    run, ended = upload_to_liar(house, owner, lie)
    assert (len(tries), "alice claims to have" in ended[0].message, run.copies) == (2, True, [])
