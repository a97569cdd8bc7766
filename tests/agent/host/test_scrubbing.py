"""What the host's agent does about its own disk, and what its human is told."""

import asyncio

import pytest

from agent.host.test_proving import dealing
from agent.host.test_serving import noise, read_range
from backuppeer.agent.host import scrubbing as scrubbing_module
from backuppeer.agent.host.proving import Proving
from backuppeer.agent.host.scrubbing import Scrubbing
from backuppeer.errors import BackupPeerError
from backuppeer.limits import LOSS_GRACE_S, LOSS_TOLD_S, SCRUB_LOOK_S
from backuppeer.proof.audits import Sample
from backuppeer.proof.custody import LossReport, open_packs


def scrubbing_of(house):
    return Scrubbing(house.premises, house.clock, Proving(house.premises))


def scenario_of(house, owner, act):
    """Store a pack and leave a head, then act; returns what it returns."""

    async def scenario():
        agreement = owner.agree_with(house)
        async with dealing(house, owner) as deal:
            await deal.link.put(agreement, noise("pack", 100_000))
            await deal.leave_head()
            ((stored, _),) = deal.store.list_packs(agreement)
            return await act(deal, stored)

    return asyncio.run(scenario())


def reopen(house):
    """Close the store, so that it is opened anew."""
    house.premises.close()
    return house.premises.open()


def test_what_the_scrub_finds_is_reported_to_the_owner_and_told_to_the_host_s_human(house, owner):
    scrubbing = scrubbing_of(house)

    async def act(deal, stored):
        deal.damage(stored)
        assert scrubbing.describe(house.state) == []
        await asyncio.to_thread(scrubbing.look)
        (report,) = (await deal.losses()).reports
        open_packs(LossReport, report.signed, report.packs, host=house.peer, agreement=deal.agreement)
        assert report.packs == (stored,)

    scenario_of(house, owner, act)
    house.state.call(owner.peer, "bob", 1)
    (said,) = scrubbing.describe(house.state)
    assert said.startswith("1 pack is lost or damaged on the disk of the store, found on ")
    assert "bob" in said
    house.clock.ms += LOSS_TOLD_S * 1000 + 1
    assert scrubbing.describe(house.state) == [], "not for ever"


def test_what_was_gone_when_the_store_was_opened_is_looked_for_again_before_it_is_reported(house, owner):
    scrubbing = scrubbing_of(house)

    async def act(deal, stored):
        (path,) = deal.store.directory.rglob(stored.hex())
        path.unlink()
        store = reopen(house)
        await asyncio.to_thread(scrubbing.look)
        assert (await deal.losses()).reports == ()
        house.clock.ms += int(LOSS_GRACE_S * 1000)
        await asyncio.to_thread(scrubbing.look)
        assert (await deal.losses()).reports[0].packs == (stored,)
        assert store.losses.list_suspected() == []

    scenario_of(house, owner, act)


def test_a_folder_that_comes_back_is_no_loss(house, owner):
    scrubbing = scrubbing_of(house)

    async def act(deal, stored):
        (path,) = deal.store.directory.rglob(stored.hex())
        away = house.premises.directory.parent / "away"
        path.rename(away)
        store = reopen(house)
        await asyncio.to_thread(scrubbing.look)
        away.rename(path)
        house.clock.ms += int(LOSS_GRACE_S * 1000)
        await asyncio.to_thread(scrubbing.look)
        assert (await deal.losses()).reports == ()
        assert store.losses.list_suspected() == []
        assert reopen(house).has(deal.agreement, stored), "its file was found again"

    scenario_of(house, owner, act)


@pytest.mark.parametrize("comes_back", [True, False])
def test_packs_away_when_the_store_was_just_opened_are_neither_shown_nor_confessed_by_what_their_owner_asks(
    house, owner, comes_back
):
    scrubbing = scrubbing_of(house)

    async def act(deal, stored):
        packs = deal.store.directory / "agreements" / deal.agreement.hex() / "packs"
        away = packs.rename(packs.with_name("packs.away"))  # as under a disk that is mounted a minute too late
        deal.store = reopen(house)
        assert (await deal.ack(stored)).packs == ()
        assert (await deal.audit(Sample(stored, 0, 1)))[1] == [None]
        with pytest.raises(BackupPeerError):
            await read_range(deal.link, deal.agreement, stored, 0, 1)
        await asyncio.to_thread(scrubbing.look)
        house.clock.ms += int(LOSS_GRACE_S * 1000) - 1
        assert (await deal.ack(stored)).packs == ()
        assert (await deal.losses()).reports == (), "nothing is signed that could convict"
        if comes_back:
            away.rename(packs)
        house.clock.ms += 1
        await deal.ack(stored)  # settles what is suspected
        assert bool((await deal.losses()).reports) is not comes_back
        deal.store = reopen(house)
        assert (await deal.ack(stored)).packs == ((stored,) if comes_back else ()), "its file was found again"

    scenario_of(house, owner, act)


def test_a_report_that_can_t_be_written_is_made_later_and_nothing_is_signed_meanwhile(house, owner):
    scrubbing = scrubbing_of(house)

    async def act(deal, stored):
        deal.damage(stored)
        place = deal.store.directory / "agreements" / deal.agreement.hex() / "losses"
        place.write_text("in the way, as a disk that can't be written would be")
        await asyncio.to_thread(scrubbing.look)
        assert any("can't be reported" in note for note in house.premises.notes)
        assert (await deal.ack(stored)).packs == ()
        place.unlink()
        house.clock.ms += int(LOSS_GRACE_S * 1000)
        await asyncio.to_thread(scrubbing.look)
        assert (await deal.losses()).reports[0].packs == (stored,)

    scenario_of(house, owner, act)


def test_a_store_that_is_away_is_looked_at_again_later(house, monkeypatch):
    scrubbing = scrubbing_of(house)
    assert scrubbing.look() == SCRUB_LOOK_S, "no pack yet"
    house.premises.directory.rename(house.premises.directory.with_name("unplugged"))
    assert scrubbing.describe(house.state) == []
    looks, seen = asyncio.Queue(), scrubbing.look

    def look():
        looks.put_nowait("look")
        return seen()

    monkeypatch.setattr(scrubbing, "look", look)
    monkeypatch.setattr(scrubbing_module, "SCRUB_LOOK_S", 0)

    async def scenario():
        running = asyncio.create_task(scrubbing.run())
        for _ in range(3):
            await looks.get()
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(scenario())
