import asyncio
import functools
import hashlib
import math
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from agent.hosted import hosted
from agent.houses import WISH, FixedReach, HostHouse, partner
from agent.loops import LookedAtClock, SetClock, play
from agent.parties import two_parties
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.owner import fetch as fetch_module
from backuppeer.agent.owner import upload as upload_module
from backuppeer.agent.owner.fetch import Ears, Fetch, read_range
from backuppeer.agent.owner.spans import RecentSpans
from backuppeer.agent.owner.upload import Pace, Upload
from backuppeer.agent.peers import retry as retry_module
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.repute.exposing import Exposing, Lying
from backuppeer.errors import (
    ExitCode,
    IntegrityFault,
    InterruptedByUserError,
    PeerUnreachable,
    ProtocolViolation,
    Refusal,
    RefusedError,
    StoreUnavailable,
)
from backuppeer.host.quota import Quota
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import BULK_STALL_S, LAGGARD_BYTES, LAGGARD_S, LEAF_BYTES, MIB
from backuppeer.repo.blob import BlobKind, Compressor
from backuppeer.repo.pack import PackDraft, PackOpener, parse_header
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import GetRange, Proceed, PutPack, Range, Refused


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch):
    """Retries are real, but few: time passes as they look at it."""
    monkeypatch.setattr(retry_module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(fetch_module, "RETRY_BUDGET_S", 0.2)
    for module in (fetch_module, upload_module):
        monkeypatch.setattr(module, "retry", functools.partial(retry_module.retry, budget_s=0.2))


def noise(seed: object, size: int) -> bytes:
    return hashlib.shake_128(repr(seed).encode()).digest(size)


def draft_of(owner, *datas):
    draft, pack_blob = PackDraft(), Compressor(3).pack_blob
    for data in datas:
        assert draft.add(pack_blob(owner.repository.keys, BlobKind.DATA, data))
    return draft.close()


ALL_ARE_FRIENDS = SimpleNamespace(is_friend=lambda _: True, held_bytes=lambda _: 0)


class Run:
    """One upload and one fetch of an owner over partners, and what they told."""

    def __init__(self, owner, partners):
        self.owner, self.states, self.blamed, self.copies, self.notes = owner, [], [], [], []
        self.stop, self.before_copy = threading.Event(), lambda: None
        self.upload = Upload(
            owner.repository,
            partners,
            on_copy=self.on_copy,
            say=self.say,
            clock=LookedAtClock(),
            stop=self.stop,
            exposing=Exposing(owner.state, ALL_ARE_FRIENDS, owner.clock, lambda _: Lying()),
        )
        self.fetch = Fetch(
            owner.repository.ledger,
            {each.agreement: each for each in partners},
            clock=LookedAtClock(),
            ears=Ears(lambda who, error: self.blamed.append((who.peer, type(error))), self.say, self.notes.append),
        )

    def say(self, state, text, _retry_s):
        self.states.append((state, text))

    def on_copy(self, entries, copy):
        self.before_copy()
        self.copies.append(copy)
        self.owner.repository.ledger.register_copy(copy)
        self.owner.repository.index.register(copy.logical, entries)

    async def store(self, *drafts):
        def work():
            for draft in drafts:
                self.upload.store(draft)
            self.upload.flush()

        await asyncio.to_thread(work)

    async def read(self, draft):
        """Return the plain bytes of every blob of a pack, as the restorer gets them."""

        def work():
            header, sealed = self.fetch.fetch(draft.logical, [(e.offset, e.sealed_bytes) for e in draft.entries])
            opener = PackOpener(self.owner.repository.keys, parse_header(header))
            return {opener.open_entry(e, s) for e, s in zip(draft.entries, sealed, strict=True)}

        return await asyncio.to_thread(work)


@asynccontextmanager
async def two_hosts(house, owner, tmp_path, *, serve=None):
    """`serve`: what the first host does instead of what an honest one does."""
    second = HostHouse(tmp_path / "second", b"2")
    agreements = owner.agree_with(house, number=1), owner.agree_with(second, number=2)
    async with AsyncExitStack() as stack:
        links = [
            await stack.enter_async_context(hosted(each, owner, serve=how))
            for each, how in ((house, serve), (second, None))
        ]
        run = Run(
            owner,
            [partner(h, a, link.session) for h, a, link in zip((house, second), agreements, links, strict=True)],
        )
        run.houses = dict(zip(agreements, (house, second), strict=True))
        yield run
    second.close()


def asked_first(run, draft):
    """Return the agreement and the host whose copy is read first: that of the host that acknowledged first."""
    agreement = run.owner.repository.ledger.copies_of(draft.logical)[0].agreement
    return agreement, run.houses[agreement]


def damage_packs(house):
    """Flip one bit in each leaf of every stored pack, as a bad disk or a bad host would."""
    damaged = 0
    for path in house.premises.directory.rglob("*"):
        if path.is_file() and path.stat().st_size >= 256 * 1024:
            data = bytearray(path.read_bytes())
            for at in range(100, len(data), LEAF_BYTES):
                data[at] ^= 1
            path.chmod(0o600)
            path.write_bytes(data)
            damaged += 1
    assert damaged


def test_packs_go_to_every_host_as_different_bytes_and_come_back(house, owner, tmp_path):
    async def scenario():
        async with two_hosts(house, owner, tmp_path) as run:
            blobs = [noise(n, 200_000) for n in range(3)]
            draft = draft_of(owner, *blobs)
            await run.store(draft)
            one, two = run.copies
            assert one.logical == two.logical == draft.logical
            assert one.stored != two.stored, "no host can answer for another"
            assert run.upload.failures == {}
            assert run.upload.sent_bytes == one.size + two.size
            assert await run.read(draft) == set(blobs)

    asyncio.run(scenario())


def test_a_host_that_returns_a_flipped_bit_is_blamed_and_the_next_copy_used(house, owner, tmp_path):
    async def scenario():
        async with two_hosts(house, owner, tmp_path) as run:
            blobs = [noise(n, 200_000) for n in range(3)]
            draft = draft_of(owner, *blobs)
            await run.store(draft)
            _, liar = asked_first(run, draft)
            damage_packs(liar)
            assert await run.read(draft) == set(blobs)
            assert run.blamed == [(liar.peer, IntegrityFault)]
            (note,) = run.notes
            assert "returned wrong bytes of pack" in note
            again = draft_of(owner, noise(9, 300_000))
            await run.store(again)
            damage_packs(liar)
            run.fetch._failed_s.clear()
            await run.read(again)
            assert run.notes == [note], "once for each host, however much it returns wrong"

    asyncio.run(scenario())


def test_a_pack_under_way_when_the_host_refuses_the_next_one_becomes_durable_before_the_upload_ends(
    house, owner, monkeypatch
):
    agreement = owner.agree_with(house)
    refused, reserve = threading.Event(), Quota.reserve

    def reserve_once(quota, agreement, size_bytes, **options):
        monkeypatch.setattr(Quota, "reserve", refuse)
        return reserve(quota, agreement, size_bytes, **options)

    def refuse(*_, **options):
        refused.set()
        raise RefusedError("the agreement is full: 0 B free now")

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            run.before_copy = lambda: refused.wait(30)
            drafts = [draft_of(owner, noise(number, 300_000)) for number in range(2)]
            monkeypatch.setattr(Quota, "reserve", reserve_once)
            with pytest.raises(RefusedError, match="full"):
                async with run.upload:
                    await run.store(*drafts)
            assert [copy.logical for copy in run.copies] in ([drafts[0].logical], [drafts[1].logical])
            assert not run.upload._all_under_way()

    asyncio.run(scenario())


def test_a_wrong_copy_beside_a_host_that_is_away_is_no_loss_and_says_whom_to_wait_for(house, owner, tmp_path):
    async def scenario():
        async with two_hosts(house, owner, tmp_path) as run:
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            agreement, liar = asked_first(run, draft)
            damage_packs(liar)
            (gone,) = run.houses.keys() - {agreement}
            reach = run.fetch._partners[gone].reach
            session, reach.found = reach.found, PeerUnreachable("away")
            names = {each: run.fetch._partners[each].name for each in run.houses}
            with pytest.raises(PeerUnreachable) as told:
                await run.read(draft)
            assert told.value.message.startswith(f"{names[agreement]} lost pack {draft.logical.hex()[:8]}, or returned")
            assert f"run it again when {names[gone]} is back" in told.value.hint
            reach.found = session
            run.fetch._failed_s.clear()
            damage_packs(run.houses[gone])
            with pytest.raises(IntegrityFault, match="returned wrong bytes of pack") as told:
                await run.read(draft)
            assert all(name in told.value.message for name in names.values())

    asyncio.run(scenario())


def test_when_every_copy_is_damaged_nothing_unverified_comes_out(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            damage_packs(house)
            with pytest.raises(IntegrityFault):
                await run.read(draft)
            assert run.blamed == [(house.peer, IntegrityFault)]

    asyncio.run(scenario())


def test_a_range_that_can_not_be_is_the_fault_of_the_index_and_no_host_is_blamed(house, owner):
    async def scenario():
        agreement = owner.agree_with(house)
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            draft = draft_of(owner, b"x" * 1000)
            await run.store(draft)
            with pytest.raises(IntegrityFault, match="outside of their pack") as caught:
                await asyncio.to_thread(run.fetch.fetch, draft.logical, [(draft.length - 5, 10)])
            assert "check --repair" in caught.value.hint
            assert run.blamed == []

    asyncio.run(scenario())


def test_a_host_that_is_away_is_left_at_once_for_the_next_copy_and_asked_last_then(house, owner, tmp_path):
    async def scenario():
        async with two_hosts(house, owner, tmp_path) as run:
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            agreement, gone = asked_first(run, draft)
            reach = run.fetch._partners[agreement].reach
            reach.found, reach.asked = PeerUnreachable("away"), 0
            assert await run.read(draft) == {noise(1, 300_000)}
            assert reach.asked == 1, "nobody is waited for while another host holds the pack"
            run.fetch._recent = RecentSpans(0)
            assert await run.read(draft) == {noise(1, 300_000)}
            assert reach.asked == 1, "a host that failed lately is asked last"
            assert run.blamed == [(gone.peer, PeerUnreachable)]

    asyncio.run(scenario())


def test_a_host_that_does_not_answer_in_time_is_left_for_the_next_copy_in_mid_pack_and_blamed_for_nothing(
    house, owner, tmp_path, monkeypatch
):
    monkeypatch.setattr(fetch_module, "PACE_PATIENCE_S", 0.3)
    stores = Serving(house.premises, house.requests.consider_proposal, house.standing.blame).serve
    left = []

    async def hold(peer, channel):
        opening = await channel.receive_any()
        if not isinstance(opening, GetRange):
            await stores(peer, Reopened(channel, opening))
            return
        await channel.send(Range(size=opening.leaves * LEAF_BYTES, pack_bytes=opening.leaves * LEAF_BYTES))
        await channel.send_raw(b"x" * 1000)
        left.append(opening.stored)
        await channel.wait_end()

    async def scenario():
        async with two_hosts(house, owner, tmp_path, serve=hold) as run:
            blobs = [noise(n, 200_000) for n in range(3)]
            draft = draft_of(owner, *blobs)
            await run.store(draft)
            slow = next(agreement for agreement, each in run.houses.items() if each is house)
            (copy,) = [copy for copy in run.copies if copy.agreement == slow]
            monkeypatch.setattr(run.fetch._pacer, "wait_s", lambda agreement, _: float(agreement != slow) / 100)
            assert await run.read(draft) == set(blobs)
            assert left == [copy.stored]
            assert run.blamed == []

    asyncio.run(scenario())


class Reopened:
    """A channel whose opening was read already."""

    def __init__(self, channel, opening):
        self._channel, self._openings = channel, [opening]

    def __getattr__(self, name):
        return getattr(self._channel, name)

    async def receive_any(self, **options):
        return self._openings.pop() if self._openings else await self._channel.receive_any(**options)


def test_when_no_host_can_be_reached_it_is_weather(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            away = partner(house, agreement, link.session)
            run = Run(owner, [away])
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            away.reach.found = PeerUnreachable("away")
            with pytest.raises(PeerUnreachable, match="away"):
                await run.read(draft)
            with pytest.raises(IntegrityFault, match="no peer is known"):
                await asyncio.to_thread(run.fetch.fetch, LogicalId(b"?" * 16), [(0, 1)])

    asyncio.run(scenario())


def test_a_host_that_was_waited_for_in_vain_is_not_waited_for_again_for_each_pack(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            away = partner(house, agreement, link.session)
            run = Run(owner, [away])
            drafts = [draft_of(owner, noise(n, 300_000)) for n in range(3)]
            await run.store(*drafts)
            away.reach.found = PeerUnreachable("away")
            with pytest.raises(PeerUnreachable, match="away"):
                await run.read(drafts[0])
            asked = away.reach.asked
            assert asked > 1
            for draft in drafts[1:]:
                with pytest.raises(PeerUnreachable, match="away"):
                    await run.read(draft)
            assert away.reach.asked == asked
            assert [state for state, _ in run.states] == ["waiting", "working"]
            away.reach.found = link.session
            run.fetch._gone.clear()
            assert await run.read(drafts[0]) == {noise(0, 300_000)}

    asyncio.run(scenario())


class Lost(FixedReach):
    """Away for ever; `is_called` once somebody dials, and who dials waits until `gives_up`."""

    def __init__(self):
        super().__init__(None)
        self.is_called, self.gives_up, self.calls = asyncio.Event(), asyncio.Event(), 0

    async def session(self, peer):
        del peer
        self.calls += 1
        self.is_called.set()
        await self.gives_up.wait()
        raise PeerUnreachable("away")


def lose(run, number=0):
    """Replace a host of a fetch by one that is away; return its reach."""
    agreement = list(run.fetch._partners)[number]
    lost = Lost()
    run.fetch._partners[agreement] = replace(run.fetch._partners[agreement], reach=lost)
    return lost


def test_who_waits_without_an_end_can_leave(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            run.fetch._wait_s = math.inf
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            lost = lose(run)
            reading = asyncio.create_task(run.read(draft))
            await lost.is_called.wait()
            run.fetch.cancel()
            with pytest.raises(InterruptedByUserError, match="stopped while waiting"):
                await reading
            with pytest.raises(InterruptedByUserError):
                await run.read(draft)

    asyncio.run(scenario())


@pytest.mark.timeout(30)
def test_a_host_is_waited_for_no_longer_than_was_said_however_long_dialling_takes(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            run.fetch._wait_s = 1.0
            lost = lose(run)
            with pytest.raises(PeerUnreachable, match="did not answer in time"):
                await run.read(draft)
            assert lost.calls == 1
            lost.gives_up.set()

    asyncio.run(scenario())


def test_all_that_wait_for_a_host_wait_for_one_call(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            run.fetch._wait_s = 0.0
            drafts = [draft_of(owner, noise(n, 300_000)) for n in range(3)]
            await run.store(*drafts)
            lost = lose(run)
            reading = [asyncio.create_task(run.read(draft)) for draft in drafts]
            while len(run.fetch._awaited) < len(drafts):  # noqa: ASYNC110 - threads tell no event
                await asyncio.sleep(0)
            for _ in range(5):  # what threads handed to the loop begins in the turns after
                await asyncio.sleep(0)
            lost.gives_up.set()
            for task in reading:
                with pytest.raises(PeerUnreachable, match="away"):
                    await task
            assert lost.calls == 1

    asyncio.run(scenario())


def test_while_one_host_stays_away_another_that_comes_back_is_not_missed(house, owner, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "RETRY_MOST_S", 0.02)

    async def scenario():
        async with two_hosts(house, owner, tmp_path) as run:
            run.fetch._wait_s = math.inf
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            agreement, _ = asked_first(run, draft)
            first = list(run.fetch._partners).index(agreement)
            lose(run, first).gives_up.set()
            reach = run.fetch._partners[list(run.fetch._partners)[1 - first]].reach
            session, reach.found, before = reach.found, PeerUnreachable("away"), reach.asked
            reading = asyncio.create_task(run.read(draft))
            while reach.asked < before + 3:  # noqa: ASYNC110 - threads tell no event
                await asyncio.sleep(0)
            reach.found = session
            assert await reading == {noise(1, 300_000)}

    asyncio.run(scenario())


def test_an_upload_to_a_host_that_is_away_is_retried_told_and_given_up(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        away = partner(house, agreement, PeerUnreachable("away"))
        run = Run(owner, [away])
        with pytest.raises(PeerUnreachable, match="away"):
            await run.store(draft_of(owner, noise(1, 1000)))
        assert away.reach.asked >= 2
        assert [state for state, _ in run.states] == ["waiting", "working"]
        assert run.states[0][1] == f"waiting for {away.name}: away"
        assert run.copies == []

    asyncio.run(scenario())


def test_while_a_host_is_away_a_person_is_told_so_and_that_it_is_back_for_uploads_and_fetches(house, owner):
    agreement = owner.agree_with(house)

    class BackAfterTwo(FixedReach):
        """Away for two tries after each `leave`."""

        def leave(self):
            self.left = 2

        async def session(self, peer):
            self.left -= 1
            if self.left >= 0:
                raise PeerUnreachable("away")
            return await super().session(peer)

    async def scenario():
        async with hosted(house, owner) as link:
            reach = BackAfterTwo(link.session)
            run = Run(owner, [Partner(agreement, house.peer, "alice", reach)])
            told = [("waiting", "waiting for alice: away"), ("connected", "connected to alice again")]
            draft = draft_of(owner, noise(1, 300_000))
            reach.leave()
            await run.store(draft)
            assert run.states == told
            reach.leave()
            assert await run.read(draft) == {noise(1, 300_000)}
            assert run.states == told * 2

    asyncio.run(scenario())


def test_a_host_that_drops_out_does_not_stop_the_other(house, owner, tmp_path):
    async def scenario():
        async with two_hosts(house, owner, tmp_path) as run:
            first = run.upload._targets[0].partner
            first.reach.found = RefusedError("no more")
            drafts = [draft_of(owner, noise(n, 100_000)) for n in range(12)]
            await run.store(*drafts)
            assert list(run.upload.failures) == [house.peer]
            assert {copy.agreement for copy in run.copies} == {AgreementId(b"\x02" * 16)}
            assert len(run.copies) == 12
            assert run.upload.sent_to(first) == 0

    asyncio.run(scenario())


def test_a_fault_of_the_program_under_way_ends_the_upload_so_that_no_head_names_what_is_nowhere(house, owner, tmp_path):
    async def scenario():
        async with two_hosts(house, owner, tmp_path) as run:

            def break_down():
                raise ZeroDivisionError

            run.before_copy = break_down
            with pytest.raises(ZeroDivisionError):
                await run.store(draft_of(owner, noise(1, 100_000)))
            assert run.copies == []

    asyncio.run(scenario())


async def take_nothing(message, channel):
    """Let an owner in, and take no byte of its packs."""
    del message
    await channel.receive(PutPack)
    await channel.send(Proceed())
    await asyncio.Event().wait()


def test_a_host_that_all_others_wait_for_is_left_for_later_and_named(house, owner, tmp_path, monkeypatch):
    monkeypatch.setattr(upload_module, "LAGGARD_S", 0.0)

    async def scenario():
        async with two_hosts(house, owner, tmp_path, serve=take_nothing) as run:
            await run.store(*(draft_of(owner, noise(n, 100_000)) for n in range(6)))
            ((left, told),) = run.upload.failures.items()
            assert left == house.peer
            assert "was left for later" in told.message
            assert {copy.agreement for copy in run.copies} == {AgreementId(b"\x02" * 16)}
            assert len(run.copies) == 6, "and the other got everything"

    asyncio.run(scenario())


def laggards(clock, pace, steps, *, of=2):
    """Return who is left behind, after (seconds, bytes taken by the busy ones) step by step."""
    for at_s, taken in steps:
        clock.ms = int(at_s * 1000)
        if found := pace.find_laggards(taken, of=of):
            return at_s, found
    return None


def quarters(until_s, taken):
    return [(step / 4, taken(step / 4)) for step in range(int(until_s * 4) + 1)]


@pytest.mark.parametrize(
    ("taken", "of", "found"),
    [
        (lambda _: {"a": 0}, 2, (LAGGARD_S, {"a"})),
        (lambda s: {"a": int(s * LAGGARD_BYTES / LAGGARD_S) + 1}, 2, None),
        (lambda s: {"a": int(s * LAGGARD_BYTES / LAGGARD_S * 0.9)}, 2, (LAGGARD_S, {"a"})),
        (lambda _: {"a": 0, "b": 0}, 2, None),  # all are busy: none waits for another
        (lambda s: {"a": 0} | ({"b": 0} if s == LAGGARD_S / 2 else {}), 2, (1.5 * LAGGARD_S + 0.25, {"a"})),
        (lambda s: {} if s == LAGGARD_S / 2 else {"a": 0}, 2, (1.5 * LAGGARD_S + 0.25, {"a"})),
        (lambda s: {"a": 0, "b": int(s * MIB)}, 3, (LAGGARD_S, {"a"})),
    ],
    ids=["nothing", "enough", "too little", "all busy", "all busy once", "idle once", "one of two"],
)
def test_who_takes_next_to_nothing_while_all_others_have_nothing_to_do_is_left(taken, of, found):
    clock = SetClock()
    assert laggards(clock, Pace(clock, is_waited_for=False), quarters(2 * LAGGARD_S, taken), of=of) == found


def test_time_in_which_the_work_did_not_wait_does_not_count():
    clock = SetClock()
    pace = Pace(clock, is_waited_for=False)
    assert laggards(clock, pace, [(at_s, {"a": 0}) for at_s in range(0, 1000, 10)]) is None


def test_a_host_alone_is_left_only_when_somebody_else_waits_for_it():
    clock = SetClock()
    steps = quarters(2 * LAGGARD_S, lambda _: {"a": 0})
    assert laggards(clock, Pace(clock, is_waited_for=False), steps, of=1) is None
    assert laggards(clock, Pace(clock, is_waited_for=True), steps, of=1) == (LAGGARD_S, {"a"})


def test_a_session_lost_in_the_middle_of_a_pack_is_resumed_with_the_same_bytes(house, owner):
    agreement = owner.agree_with(house, (16 * MIB, *WISH[1:]))

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [Partner(agreement, house.peer, "host", Redial(link))])
            network = link.near.transport._network
            network.weather.cut_after_bytes = 3 * MIB
            redial = run.upload._targets[0].partner.reach
            redial.after_loss = lambda: setattr(network.weather, "cut_after_bytes", None)
            draft = draft_of(owner, *(noise(n, 700_000) for n in range(8)))
            await run.store(draft)
            assert redial.dialled >= 2
            assert [copy.logical for copy in run.copies] == [draft.logical]
            assert house.premises.open().usage(agreement).packs == 1
            assert len(await run.read(draft)) == 8

    asyncio.run(scenario())


class Redial:
    """Reach for one known place: dials again when the session is gone."""

    def __init__(self, link):
        self.link, self.dialled, self.after_loss = link, 0, lambda: None

    def absent_since_ms(self, _):
        return 0

    async def session(self, peer):
        self.dialled += 1
        if self.dialled > 1:
            self.after_loss()
        return self.link.near.sessions.get(peer) or await self.link.near.dial(self.link.far)


def test_an_interrupted_upload_stops_and_says_so(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            run.stop.set()
            with pytest.raises(InterruptedByUserError):
                await run.store(draft_of(owner, noise(1, 1000)))
            assert run.copies == []

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [3 * LEAF_BYTES, LEAF_BYTES])
def test_a_host_that_answers_with_more_or_less_than_was_asked_for_is_caught(house, owner, size):
    agreement = owner.agree_with(house)

    async def lie(_, channel):
        await channel.receive(GetRange, PutPack)
        await channel.send(Range(size=size, pack_bytes=2 * LEAF_BYTES))
        await channel.send_raw(bytes(size))
        await channel.finish()
        await channel.wait_end()

    async def scenario():
        async with hosted(house, owner, serve=lie) as link:
            asked = read_range(
                partner(house, agreement, link.session), StoredId(b"s" * 32), 0, memoryview(bytearray(2 * LEAF_BYTES))
            )
            if size > 2 * LEAF_BYTES:
                with pytest.raises(ProtocolViolation, match="more bytes"):
                    await asked
                return
            data, path = await asked
            with pytest.raises(IntegrityFault):
                fetch_module.check_range(StoredId(b"s" * 32), 2 * LEAF_BYTES, 0, data, path)

    asyncio.run(scenario())


def test_a_host_that_drips_bytes_is_given_up_as_weather():
    async def drip(_, channel):
        await channel.receive(GetRange)
        await channel.send(Range(size=LEAF_BYTES, pack_bytes=LEAF_BYTES))
        for _ in range(LEAF_BYTES):
            await channel.send_raw(b"x")
            await asyncio.sleep(30)  # virtual

    async def scenario():
        async with two_parties(serve=drip) as (one, two):
            session = await one.dial(two)

            class Only:
                async def session(self, _):
                    return session

            host = Partner(AgreementId(b"a" * 16), two.peer, "host", Only())
            begun = asyncio.get_running_loop().time()
            with pytest.raises(PeerUnreachable, match="too little"):
                await read_range(host, StoredId(b"s" * 32), 0, memoryview(bytearray(LEAF_BYTES)))
            assert asyncio.get_running_loop().time() == begun + BULK_STALL_S

    play(scenario())


def test_a_host_whose_disk_is_away_is_weather_and_waited_for(house, owner, monkeypatch):
    agreement = owner.agree_with(house)
    opened, whole = [], house.premises.open

    def away():
        opened.append(1)
        if len(opened) <= most[0]:
            raise StoreUnavailable("its disk is unplugged")
        return whole()

    most = [2]

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            monkeypatch.setattr(house.premises, "open", away)
            monkeypatch.setattr(fetch_module, "RETRY_BUDGET_S", 60)
            assert len(await run.read(draft)) == 1
            assert "waiting" in [state for state, _ in run.states]
            monkeypatch.setattr(fetch_module, "RETRY_BUDGET_S", 0.2)
            most[0] = 10_000
            run.fetch._recent = RecentSpans(0)
            with pytest.raises(PeerUnreachable, match="its store is away") as caught:
                await run.read(draft)
            assert caught.value.exit_code == ExitCode.UNREACHABLE
            assert "disk is away" in caught.value.hint
            assert {kind for _, kind in run.blamed} <= {StoreUnavailable}, "weather, which nobody is blamed for"

    asyncio.run(scenario())


def test_a_range_that_was_just_fetched_is_not_fetched_again(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            await run.read(draft)
            before = link.session.connection.received_bytes
            await run.read(draft)
            assert link.session.connection.received_bytes == before

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [RefusalCode.BUSY, RefusalCode.OVER_BUDGET, RefusalCode.STALE])
@pytest.mark.parametrize("is_waited_for", [True, False])
def test_a_host_that_gives_nothing_back_is_told_from_one_that_is_busy_for_a_moment(house, owner, code, is_waited_for):
    agreement = owner.agree_with(house)
    honest = Serving(house.premises, house.requests.consider_proposal, house.standing.blame).serve
    blamed = []

    async def refuse(peer, channel):
        opening = await channel.receive_any()
        if not isinstance(opening, GetRange):
            await honest(peer, Reopened(channel, opening))
            return
        await channel.send(Refused(code=code, message="no"))
        await channel.finish()
        await channel.wait_end()

    async def scenario():
        async with hosted(house, owner, serve=refuse) as link:
            host = partner(house, agreement, link.session)
            run = Run(owner, [host])
            draft = draft_of(owner, noise(1, 100_000))
            await run.store(draft)
            run.fetch = Fetch(
                owner.repository.ledger,
                {agreement: host},
                clock=LookedAtClock(),
                ears=Ears(lambda _, error: blamed.append(error), run.say, run.notes.append),
                wait_s=0.1 if is_waited_for else 0,
            )
            with pytest.raises((PeerUnreachable, IntegrityFault)):
                await run.read(draft)

    asyncio.run(scenario())
    if code is RefusalCode.BUSY:
        assert {error.is_outlasted for error in blamed} == {is_waited_for}
    else:
        assert {error.refusal for error in blamed} == {Refusal.FAULT}, "a restore names no head, and has no budget"
