import asyncio

from agent.estates import estate_of
from backuppeer.agent.audits import stocktaking as stocktaking_module
from backuppeer.agent.audits.stocktaking import take_stock
from backuppeer.agent.peers.retry import Herald
from backuppeer.clock import SystemClock
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import StoredId
from backuppeer.trust.evidence import Kind
from backuppeer.wire.messages import PackRow

NOBODY = Herald(lambda *_: None, SystemClock())


async def drip(*_):
    """List one pack after the other, each just in time, without an end."""
    number = 0
    while True:
        await asyncio.sleep(0.01)
        number += 1
        yield (PackRow(StoredId(number.to_bytes(32, "big")), 300_000),)


def test_a_host_that_lists_without_an_end_is_given_up_as_weather(house, owner, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(stocktaking_module, "REFRESH_S", 0.2)

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            (partner,) = estate.vault.partners()
            whole = await take_stock(estate.vault, partner, lambda _: None, NOBODY)
            assert (whole.away, whole.missing) == (None, [])
            monkeypatch.setattr(stocktaking_module, "list_packs", drip)
            counted = []
            stock = await take_stock(estate.vault, partner, counted.append, NOBODY)
            assert isinstance(stock.away, PeerUnreachable)
            assert "too slowly" in stock.away.message
            assert counted == sorted(set(counted))
            assert (stock.missing, Kind.INTEGRITY_FAULT in estate.seen(house)) == ([], False)

    asyncio.run(scenario())
