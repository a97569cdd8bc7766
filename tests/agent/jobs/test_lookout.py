"""Hosts are looked at once in six hours, at a time they can't foresee, and only while a person wants audits."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest

from agent.loops import SetClock, play
from backuppeer.agent.home.state import State
from backuppeer.agent.jobs.lookout import Lookout
from backuppeer.agent.repute.promised import promised_by
from backuppeer.agent.repute.standing import Standing
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import AgreementId, PeerId, RepositoryId
from backuppeer.limits import PRESENCE_LOOK_S
from backuppeer.proof.statements import ZERO_HASH, Agreement, sign_statement
from backuppeer.trust.availability import WINDOW_MS, Windows
from backuppeer.trust.contacts import Contact
from backuppeer.trust.evidence import EvidenceLog, Kind
from backuppeer.trust.score import Availability

OWNER, *HOSTS = (SigningKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
ALICE, CAROL = (PeerId(host.public) for host in HOSTS)


def agree(state, host, *, number, availability=900):
    said = Agreement(
        agreement=AgreementId(bytes([number]) * 16), revision=1, previous=ZERO_HASH, owner=PeerId(OWNER.public),
        host=PeerId(host.public), authority=OWNER.public, repository=RepositoryId(bytes(16)), size_bytes=10**9,
        start_ms=5, term_s=60, lock_s=30, availability=availability, notice_s=20,
    )  # fmt: skip
    state.put_agreement(said.agreement, said.host, sign_statement(said, OWNER, host))


class Watch:
    """A home with agreements, and hosts that are there or away; `share`: which part of the rest of a window is due."""

    def __init__(self, folder) -> None:
        self.clock, self.state = SetClock(), State(folder / "state.db")
        self.clock.ms -= self.clock.ms % WINDOW_MS
        self.evidence = EvidenceLog(folder / "evidence.db")
        self.standing = Standing(self.state, self.evidence, self.clock)
        self.away, self.asked, self.wanted, self.share = set(), [], True, 0.5
        for number, host in enumerate((HOSTS[0], *HOSTS)):
            agree(self.state, host, number=number, availability=500 + 100 * number)
        self.lookout = Lookout(
            self.state, self.standing, self.clock, reach=self, is_wanted=lambda: self.wanted, pick=self._pick
        )

    def _pick(self, low, high):
        return low + self.share * (high - low)

    async def session(self, peer):
        """Stand where Reach would find the host, or write down that it did not."""
        self.asked.append(peer)
        if peer in self.away:
            self.standing.contact(Contact(peer, self.clock.now_ms(), is_made=False, is_ours=True))
            raise PeerUnreachable("away")

    def look(self, *, minutes=0):
        self.clock.ms += minutes * 60_000
        return asyncio.run(self.lookout.look())

    def close(self):
        self.state.close()
        self.evidence.close()


@pytest.fixture
def watch(tmp_path):
    made = Watch(tmp_path)
    yield made
    made.close()


def test_each_host_is_looked_at_once_in_a_window_at_the_time_that_was_drawn(watch):
    watch.away.add(CAROL)
    assert watch.look() == []
    assert watch.look(minutes=170) == []
    assert watch.look(minutes=10) == [ALICE, CAROL]
    assert watch.look(minutes=100) == []
    assert watch.asked == [ALICE, CAROL], "one that was away isn't tried again in the same window"
    assert watch.standing.windows(ALICE) == Windows(1, 1)
    assert watch.standing.windows(CAROL) == Windows(0, 1)
    watch.share = 0.0
    assert watch.look(minutes=80) == [ALICE, CAROL]
    assert watch.standing.windows(ALICE) == Windows(0b11, 0b11)


def test_who_was_there_in_this_window_anyway_is_left_alone(watch):
    watch.look()
    watch.standing.touch(ALICE, is_up=True)
    assert watch.look(minutes=200) == [CAROL]


def test_an_agent_that_starts_in_the_middle_of_a_window_looks_in_the_rest_of_it_but_not_in_its_last_minutes(watch):
    watch.share = 1.0
    assert watch.look(minutes=300) == []
    assert watch.look(minutes=60 - PRESENCE_LOOK_S / 60) == [ALICE, CAROL]
    late = Watch.__new__(Watch)
    late.__dict__.update(watch.__dict__)
    late.lookout = Lookout(watch.state, watch.standing, watch.clock, reach=watch, is_wanted=lambda: True)
    assert late.look(minutes=1) == []


def test_without_audits_nobody_is_dialled_for_this(watch):
    watch.wanted, watch.share = False, 0.0
    assert watch.look() == []
    assert watch.asked == []
    watch.wanted = True
    assert watch.look() == [ALICE, CAROL]


def test_it_goes_on_after_a_look_that_failed(watch):
    async def scenario():
        again, looks = asyncio.Event(), []

        def wanted():
            looks.append(1)
            if len(looks) == 2:
                again.set()
            raise PeerUnreachable("no settings")

        lookout = Lookout(watch.state, watch.standing, watch.clock, reach=watch, is_wanted=wanted)
        run = asyncio.create_task(lookout.run())
        await asyncio.wait_for(again.wait(), 2 * PRESENCE_LOOK_S)
        run.cancel()

    play(scenario())


def test_a_host_that_has_not_heard_of_a_new_identity_is_called_until_it_has(watch):
    async def scenario():
        waiting, told = [CAROL], asyncio.Event()

        async def session(peer):
            watch.asked.append(peer)
            if len(watch.asked) < 3:
                raise PeerUnreachable("away")
            waiting.clear()
            told.set()

        lookout = Lookout(
            watch.state, watch.standing, watch.clock, reach=SimpleNamespace(session=session), is_wanted=lambda: False
        )
        lookout.find_waiting = lambda: waiting
        loop = asyncio.get_running_loop()
        began = loop.time()
        run = asyncio.create_task(lookout.call())
        await asyncio.wait_for(told.wait(), 10 * PRESENCE_LOOK_S)
        assert loop.time() - began <= 2 * PRESENCE_LOOK_S, "soon, in whatever window"
        await asyncio.sleep(3 * PRESENCE_LOOK_S)
        run.cancel()

    play(scenario())
    assert watch.asked == [CAROL] * 3


def test_what_is_old_is_condensed_and_still_counted(watch):
    async def scenario():
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        compact = watch.standing.compact
        watch.standing.compact = lambda: (compact(), loop.call_soon_threadsafe(done.set))
        run = asyncio.create_task(watch.lookout.condense())
        await asyncio.wait_for(done.wait(), 10)
        run.cancel()

    watch.evidence.contacts.record(Contact(ALICE, 1, is_made=True, is_ours=True))
    asyncio.run(scenario())
    assert watch.evidence.contacts.latest(ALICE, limit=9) == []
    assert watch.evidence.contacts.count(ALICE).made == 1


def test_what_a_host_promised_is_what_its_newest_agreement_says(watch):
    assert promised_by(watch.state, ALICE) == 0.6
    assert promised_by(watch.state, CAROL) == 0.7
    assert promised_by(watch.state, PeerId(OWNER.public)) == 0
    watch.standing.promised = partial(promised_by, watch.state)
    watch.standing.saw(ALICE, Kind.AUDITED)
    watch.standing.touch(ALICE, is_up=True)
    whole, _ = watch.standing.trust(ALICE)
    for _ in range(3):
        watch.clock.ms += WINDOW_MS
        watch.standing.touch(ALICE, is_up=False)
    assert watch.standing.evidence(ALICE).availability == Availability(0.25, 0.6)
    assert watch.standing.trust(ALICE)[0] < whole
