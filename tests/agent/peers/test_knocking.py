"""One knock: how long it lives, where its reply is awaited, and for how long."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from agent.loops import START_MS, VirtualClock, play
from backuppeer.agent.home.records import RequestState
from backuppeer.agent.peers import knocking
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import NoSignaling, PeerUnreachable, RefusedError
from backuppeer.limits import KNOCK_LIFE_S, KNOCK_REPLY_S, KNOCK_SERVERS, KNOCK_WORK_S
from backuppeer.proof.revisions import Wish
from backuppeer.signaling.knock import OFFERS_OTHER, UNTRUSTED, KnockReply, Verdict, open_knock
from backuppeer.signaling.listing import open_listing
from signaling.kit import Host

SERVERS = [f"wss://h{n}.example" for n in range(KNOCK_SERVERS + 2)]


class DeafPool:
    """Stands where Pool is: opens inboxes, takes deposits, and no reply ever comes."""

    opened: list[list[str]]
    deposits: list[tuple[list[str], bytes]]

    def __init__(self, _servers, *, clock, health):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_error):
        pass

    async def open_inbox(self, _key, _on_message, *, servers):
        self.opened.append(servers)

        class Handle:
            def open_at(self):
                return servers

            async def close(self):
                pass

        return Handle()

    async def deposit(self, servers, _inbox, sealed, *, on_work):
        self.deposits.append((servers[0], sealed))
        return servers[0]


async def find_none(owner, house, size_bytes):
    """Knock at a host that no server knows; return what is told."""

    class Empty:
        async def find(self, _servers, _peer):
            return None

    asking = Knocking(owner.state, owner.keys.identity, VirtualClock(), market=Empty(), ends=None)
    with pytest.raises(PeerUnreachable) as told:
        await asking.knock(replace(asking.empty_wish(house.peer), size_bytes=size_bytes), SERVERS[:1])
    return told.value


def test_a_stranger_that_no_server_knows_is_not_on_offer(owner, house):
    told = play(find_none(owner, house, 10**9))
    assert told.message.endswith("is not on offer at 1 server")
    assert "`backup-peer browse` for others" in told.hint


def test_an_own_host_that_no_server_knows_is_offline_and_its_agreement_stands(owner, house):
    owner.agree_with(house)
    owner.state.meet(house.peer, START_MS, alias="alice")
    told = play(find_none(owner, house, 0))
    seen = "last seen 2026-11-18: not where it was, nor on offer at 1 server; your agreement stands"
    assert told.message == f"alice seems to be offline, {seen}"
    assert "`host` again" in told.hint


@pytest.mark.parametrize(
    ("size_bytes", "code", "is_less_advised"),
    [(2 * 10**9, "refused", True), (2**30, "refused", False), (2 * 10**9, UNTRUSTED, False)],
)
def test_who_is_refused_is_told_that_less_may_fit_where_it_may(  # noqa: PLR0917 - fixtures and cases
    owner, house, monkeypatch, size_bytes, code, is_less_advised
):
    async def refuse(*_):
        no = {"verdict": Verdict.REJECTED, "message": "not that much space is left here", "code": code}
        return KnockReply(host=house.peer, owner=owner.peer, nonce=b"", issued_ms=0, **no)

    async def scenario():
        asking = Knocking(owner.state, owner.keys.identity, VirtualClock(), market=None, ends=None)
        monkeypatch.setattr(asking, "_exchange", refuse)
        with pytest.raises(RefusedError, match="not that much space") as told:
            await asking.knock_at(None, replace(asking.empty_wish(house.peer), size_bytes=size_bytes), SERVERS[:1])
        assert ("a smaller --storage may fit" in told.value.hint) == is_less_advised
        assert "`backup-peer browse` shows others" in told.value.hint

    play(scenario())


@pytest.fixture
def deaf(owner, monkeypatch):
    """Knock at a host that never answers; returns it, and how to knock."""
    DeafPool.opened, DeafPool.deposits = [], []
    monkeypatch.setattr(knocking, "Pool", DeafPool)
    host = Host(SigningKey.generate(), EnvelopeKey.generate())
    row = open_listing(host.signed(START_MS, now_ms=START_MS), START_MS)
    ends, market = Whereabouts(b"t" * 32, ("10.0.0.1:4433",)), SimpleNamespace(health=None)

    async def knock(asking):
        with pytest.raises(PeerUnreachable, match="did not answer"):
            await asking.knock_at(row, replace(asking.empty_wish(host.peer), request="ab" * 16), SERVERS)

    def begin():
        return Knocking(owner.state, owner.keys.identity, VirtualClock(), market=market, ends=lambda: ends)

    return SimpleNamespace(host=host, knock=knock, begin=begin)


def test_a_knock_names_few_servers_lives_an_hour_and_is_given_up_after_seconds(deaf):
    async def scenario():
        await deaf.knock(deaf.begin())
        assert asyncio.get_running_loop().time() == KNOCK_REPLY_S

    play(scenario())
    assert DeafPool.opened == [SERVERS[:KNOCK_SERVERS]]
    (_, sealed), *_ = DeafPool.deposits
    knock = open_knock(sealed, deaf.host.envelope, recipient=deaf.host.peer, now_ms=START_MS)
    assert knock.servers == SERVERS[:KNOCK_SERVERS]
    assert knock.ext == {"request": b"\xab" * 16}, "what both sides call it by"
    assert knock.expires_ms - knock.issued_ms == KNOCK_LIFE_S * 1000


def test_a_host_that_has_not_heard_of_a_new_identity_is_knocked_at_as_the_old_one(deaf):
    former = SigningKey.from_seed(b"f" * 32)
    asking = deaf.begin()
    asking.as_whom = lambda peer: former if peer == deaf.host.peer else None
    play(deaf.knock(asking))
    (_, sealed), *_ = DeafPool.deposits
    # It would not open if another had signed it.
    knock = open_knock(sealed, deaf.host.envelope, recipient=deaf.host.peer, now_ms=START_MS)
    assert knock.owner == former.public


def test_a_knock_without_reply_goes_to_the_next_server_too_in_the_same_bytes(deaf):
    play(deaf.knock(deaf.begin()))
    assert [server for server, _ in DeafPool.deposits] == SERVERS[:KNOCK_SERVERS]
    assert len({sealed for _, sealed in DeafPool.deposits}) == 1


def test_the_next_knock_goes_where_none_was_left_without_a_reply(deaf):
    async def scenario():
        asking = deaf.begin()
        await deaf.knock(asking)
        await deaf.knock(asking)

    play(scenario())
    assert DeafPool.opened == [SERVERS[:KNOCK_SERVERS], SERVERS[KNOCK_SERVERS : 2 * KNOCK_SERVERS]]


def test_a_server_that_takes_no_message_is_passed_over_at_once_and_all_of_them_are_an_error(deaf, monkeypatch):
    async def deposit(self, servers, _inbox, sealed, *, on_work):
        taking = [url for url in servers if url not in refusing]
        if not taking:
            raise NoSignaling(f"{servers[0]} hangs")
        self.deposits.append((taking[0], sealed))
        return taking[0]

    refusing = {SERVERS[0]}
    monkeypatch.setattr(DeafPool, "deposit", deposit)

    async def scenario():
        await deaf.knock(deaf.begin())
        assert [server for server, _ in DeafPool.deposits] == [SERVERS[1]]
        refusing.update(SERVERS)
        with pytest.raises(NoSignaling):
            await deaf.knock(deaf.begin())
        assert asyncio.get_running_loop().time() == KNOCK_REPLY_S

    play(scenario())


def test_work_for_a_flooded_server_is_no_part_of_the_time_that_a_reply_may_take(deaf, monkeypatch):
    async def deposit(self, servers, _inbox, _sealed, *, on_work):
        await on_work(servers[0], 3.0)
        await asyncio.sleep(KNOCK_WORK_S)
        await on_work(servers[0], 0.0)
        await asyncio.Event().wait()

    async def scenario():
        await deaf.knock(deaf.begin())
        assert asyncio.get_running_loop().time() == KNOCK_WORK_S + KNOCK_REPLY_S

    monkeypatch.setattr(DeafPool, "deposit", deposit)
    play(scenario())


def test_terms_offered_instead_are_kept_beside_the_request_until_they_are_offered_no_more(owner, house, monkeypatch):
    told = {"code": OFFERS_OTHER, "size_bytes": 5, "term_s": 6, "lock_s": 7}
    replies = [told, told, {"size_bytes": 10**9}, {"code": "what a later version says", "size_bytes": 1}]

    async def answer(*_):
        said = {"verdict": Verdict.PENDING, **replies.pop(0)}
        return KnockReply(host=house.peer, owner=owner.peer, nonce=b"", issued_ms=0, **said)

    async def scenario():
        asking = Knocking(owner.state, owner.keys.identity, VirtualClock(), market=None, ends=None)
        monkeypatch.setattr(asking, "_exchange", answer)
        record = replace(asking.empty_wish(house.peer), request="ab", size_bytes=10**9)
        owner.state.put_request(record)
        offers = []
        while replies:
            assert await asking.knock_at(None, record, SERVERS[:1]) == (Verdict.PENDING, None)
            (now,) = owner.state.requests()
            assert (now.state is RequestState.OFFERED) == (now.offer is not None)
            offers.append(now.offer)
        assert offers == [Wish(5, 6, 7), Wish(5, 6, 7), None, None]

    play(scenario())
