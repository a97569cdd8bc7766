"""Uses of an invite are counted exactly: by many at once, over a crash, for one agreement each."""

import asyncio
import threading
from types import SimpleNamespace

import msgspec
import pytest

from agent.houses import WISH, HostHouse, OwnerHouse, offer
from backuppeer.agent.commands.inviting import InviteCommands, name_invite
from backuppeer.agent.home.records import Direction, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.host.invites import InviteRefused, Invites, InviteState
from backuppeer.agent.peers.wishes import INVITE
from backuppeer.control.inviting import InviteNamed
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import LocalError, NotFoundError, RefusedError, UserError
from backuppeer.ids import PeerId
from backuppeer.limits import (
    GIB,
    INVITE_LABEL_CHARS,
    INVITE_LIFE_MOST_S,
    INVITE_USES_MOST,
    INVITES_KEPT,
    MIB,
)
from backuppeer.proof.promises import Promises
from backuppeer.signaling.knock import Verdict

HOUR_S = 3600
SLOT = msgspec.structs.replace(offer("ask"), unlisted=True)


def invite(house, *, uses=1, label="", storage_bytes=WISH.size_bytes, life_s=HOUR_S):
    return house.requests.invites.create(label=label, uses=uses, storage_bytes=storage_bytes, life_s=life_s)


def knock(house, owner, made, wish=WISH):
    """Return the knock of an owner that bears an invite."""
    plain = owner.knock(house, wish)
    claim = house.requests.invites.keys_of(made).claim(PeerId(plain.owner), plain.nonce)
    return msgspec.structs.replace(plain, ext={**plain.ext, INVITE: claim})


def come(house, owner, made, wish=WISH, slot=SLOT):
    return house.requests.consider_knock(knock(house, owner, made, wish), slot)


def states(house):
    return [known.state(house.clock.now_ms()) for known in house.requests.invites.list_all()]


@pytest.fixture
def guests(tmp_path):
    made = [OwnerHouse(tmp_path / f"guest{n}", bytes([n])) for n in range(1, 4)]
    yield made
    for guest in made:
        guest.close()


def test_who_bears_an_invite_is_let_in_without_a_question_and_has_its_agreement(house, owner):
    made = invite(house, label="alice")
    assert come(house, owner, made) is Verdict.ACCEPTED
    assert house.shown == [], "nobody is asked"
    assert house.requests.may_answer(owner.peer)
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer)) is not None
    assert house.state.peer(owner.peer).alias == "alice"
    assert house.state.peer(owner.peer).is_verified is False, "bearing is no comparison"
    assert states(house) == [InviteState.USED_UP]


def test_without_it_there_is_nothing_at_an_unlisted_slot(house, owner):
    invite(house)
    with pytest.raises(RefusedError, match="nothing is on offer here"):
        house.requests.consider_knock(owner.knock(house), msgspec.structs.replace(SLOT, accept="all"))
    assert not house.requests.may_answer(owner.peer)


def test_a_listed_slot_lets_bearers_in_and_asks_about_others(house, owner, guests):
    made = invite(house)
    assert come(house, owner, made, slot=offer("ask")) is Verdict.ACCEPTED
    assert house.requests.consider_knock(guests[0].knock(house), offer("ask")) is Verdict.PENDING


def test_an_invite_goes_before_a_request_that_waits_for_an_answer_or_was_rejected(house, owner):
    slot = offer("ask")
    assert house.requests.consider_knock(owner.knock(house), slot) is Verdict.PENDING
    house.requests.decide(house.state.find_request(Direction.IN, owner.peer).request, accept=False)
    assert come(house, owner, invite(house), slot=slot) is Verdict.ACCEPTED


def test_it_lets_in_whoever_min_trust_would_turn_away(house, owner):
    made = invite(house)
    assert come(house, owner, made, slot=msgspec.structs.replace(SLOT, min_trust=0.9)) is Verdict.ACCEPTED


def test_the_same_owner_has_its_use_again_until_it_has_agreed(house, owner, guests):
    made = invite(house)
    assert [come(house, owner, made) for _ in range(3)] == [Verdict.ACCEPTED] * 3
    with pytest.raises(InviteRefused, match="somebody else who has seen it"):
        come(house, guests[0], made)
    house.requests.consider_proposal(owner.peer, owner.propose(house.peer))
    with pytest.raises(InviteRefused, match="you have used this invite already"):
        house.requests.invites.take(
            house.requests.invites.keys_of(made).name,
            house.requests.invites.keys_of(made).prove(owner.peer, b"n" * 16),
            owner=owner.peer,
            nonce=b"n" * 16,
            size_bytes=1,
        )


def test_an_owner_whose_agreement_ended_does_not_come_in_again(house, owner):
    made = invite(house)
    come(house, owner, made)
    house.requests.consider_proposal(owner.peer, owner.propose(house.peer))
    house.requests.is_partner = lambda _: False  # as after the agreement's end
    with pytest.raises(InviteRefused, match="already"):
        come(house, owner, made)


def test_of_many_at_once_exactly_as_many_come_in_as_there_are_uses(house):
    made, keys = invite(house, uses=3), [SigningKey.generate() for _ in range(16)]
    invitation, start, results = house.requests.invites.keys_of(made), threading.Barrier(16), []

    def take(key):
        owner, nonce = PeerId(key.public), key.public[:16]
        proof = invitation.prove(owner, nonce)
        start.wait()
        try:
            house.requests.invites.take(invitation.name, proof, owner=owner, nonce=nonce, size_bytes=1)
        except InviteRefused:
            results.append(False)
        else:
            results.append(True)

    threads = [threading.Thread(target=take, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == [False] * 13 + [True] * 3
    assert len(house.requests.invites.list_all()[0].used) == 3


def test_a_use_that_was_taken_before_a_crash_is_neither_lost_nor_taken_twice(
    house, owner, guests, tmp_path, monkeypatch
):
    made = invite(house)

    def die(*_, **__):
        raise KeyboardInterrupt  # between the use and anything that comes of it

    monkeypatch.setattr(house.requests, "enter", die)
    with pytest.raises(KeyboardInterrupt):
        come(house, owner, made)
    house.close()
    again = HostHouse(tmp_path / "host", b"h", state=State(tmp_path / "host" / "state.db"))
    try:
        assert states(again) == [InviteState.USED_UP]
        with pytest.raises(InviteRefused):
            come(again, guests[0], made)
        assert come(again, owner, made) is Verdict.ACCEPTED
        assert len(again.requests.invites.list_all()[0].used) == 1
    finally:
        again.close()


def test_a_use_for_which_there_was_no_room_is_given_back(house, owner, guests):
    made = invite(house, storage_bytes=GIB)
    big = replace_size(GIB)
    with pytest.raises(RefusedError, match="not that much space"):
        come(house, owner, made, big)
    assert states(house) == [InviteState.LIVE]
    assert come(house, guests[0], made) is Verdict.ACCEPTED


def replace_size(size_bytes):
    return WISH._replace(size_bytes=size_bytes)


def test_a_use_is_not_given_back_while_something_came_of_it(house, owner, guests):
    made = invite(house, storage_bytes=GIB)
    come(house, owner, made)
    with pytest.raises(RefusedError, match="not that much space"):
        come(house, owner, made, replace_size(GIB))
    with pytest.raises(InviteRefused):
        come(house, guests[0], made)


def test_it_gives_no_more_than_its_person_said_and_no_other_terms(house, owner):
    made = invite(house)
    with pytest.raises(InviteRefused, match="less than that much"):
        come(house, owner, made, replace_size(WISH.size_bytes + 1))
    with pytest.raises(RefusedError, match="longer than offered"):
        come(house, owner, made, WISH._replace(term_s=SLOT.term_s + 1))
    with pytest.raises(InviteRefused, match="terms that the slot shows"):
        come(house, owner, made, WISH._replace(promises=Promises(egress_bytes=MIB)))
    assert states(house) == [InviteState.LIVE]


def test_used_up_expired_and_revoked_are_told_apart_to_the_hosts_person(house, owner):
    for label in ("used", "old", "back", "live"):
        invite(house, label=label, life_s=60 if label == "old" else HOUR_S)
    come(house, owner, house.requests.invites.find("used"))
    house.requests.invites.revoke("back")
    house.clock.ms += 60_000
    assert states(house) == [InviteState.USED_UP, InviteState.EXPIRED, InviteState.REVOKED, InviteState.LIVE]
    assert house.requests.invites.count_live() == 1


@pytest.mark.parametrize("end", ["expire", "revoke"])
def test_who_bears_one_that_is_over_is_told_only_that(house, owner, end):
    made = invite(house, life_s=60)
    if end == "expire":
        house.clock.ms += 60_000
    else:
        house.requests.invites.revoke(house.requests.invites.name_of(made))
    with pytest.raises(InviteRefused, match=r"^this invite is not valid any more$"):
        come(house, owner, made)


def test_a_use_taken_in_time_is_good_after_the_end_and_none_after_a_revocation(house, owner):
    made = invite(house, life_s=60)
    come(house, owner, made)
    house.clock.ms += 61_000
    assert come(house, owner, made) is Verdict.ACCEPTED
    house.requests.invites.revoke(house.requests.invites.name_of(made))
    with pytest.raises(InviteRefused):
        come(house, owner, made)


def test_a_wrong_proof_is_told_what_an_unknown_invite_is(house, owner):
    made = invite(house)
    wrong = knock(house, owner, made)
    claims = [
        bytes(40),
        b"",
        house.requests.invites.keys_of(made).name,
        house.requests.invites.keys_of(made).name + bytes(32),
        house.requests.invites.keys_of(made).claim(owner.peer, b"another" + bytes(9)),
    ]
    for claim in claims:
        with pytest.raises(InviteRefused, match=r"^this invite is not valid$"):
            house.requests.consider_knock(msgspec.structs.replace(wrong, ext={INVITE: claim}), SLOT)
    assert states(house) == [InviteState.LIVE]


def test_who_is_blocked_has_no_use_of_an_invite(house, owner):
    made = invite(house)
    house.state.blocks.put(owner.peer, "", house.clock.now_ms())
    with pytest.raises(RefusedError, match="nothing is on offer"):
        come(house, owner, made)
    assert states(house) == [InviteState.LIVE]


def test_revoking_takes_back_what_nobody_has_agreed_on_yet(house, owner, guests):
    made = invite(house, uses=2)
    come(house, owner, made)
    house.requests.consider_proposal(owner.peer, owner.propose(house.peer))
    come(house, guests[0], made)
    commands = InviteCommands(agent_of(house))
    row = asyncio.run(commands.revoke(InviteNamed(invite=house.requests.invites.name_of(made)[:6]), None))
    assert (row.state, [use.agreed for use in row.used]) == ("revoked", [True, False])
    assert not house.requests.may_answer(guests[0].peer)
    assert house.state.find_request(Direction.IN, guests[0].peer).state is RequestState.REJECTED
    assert house.requests.is_partner(owner.peer), "what was agreed stands"


def agent_of(house):
    parts = SimpleNamespace(state=house.state, clock=house.clock, keys=SimpleNamespace(peer=house.peer))
    return SimpleNamespace(parts=parts, host=SimpleNamespace(requests=house.requests))


def test_a_request_says_by_which_invite_its_owner_came(house, owner, guests):
    first, second = invite(house, label="alice"), invite(house)
    come(house, owner, first)
    come(house, guests[0], second)
    named = [name_invite(agent_of(house), peer) for peer in (owner.peer, guests[0].peer, guests[1].peer)]
    assert named == ["alice", house.requests.invites.name_of(second), ""]


def test_a_name_that_somebody_has_by_then_is_given_to_nobody_else(house, owner, guests):
    made = invite(house, label="alice")
    house.state.call(guests[0].peer, "alice", 1)
    come(house, owner, made)
    assert house.state.find_request(Direction.IN, owner.peer).alias == ""


def test_numbers_out_of_range_are_refused(house):
    create = house.requests.invites.create
    good = {"label": "", "uses": 1, "storage_bytes": 1, "life_s": 60}
    for bad in (
        {"uses": 0},
        {"uses": INVITE_USES_MOST + 1},
        {"life_s": 59},
        {"life_s": INVITE_LIFE_MOST_S + 1},
        {"label": "x" * (INVITE_LABEL_CHARS + 1)},
        {"label": "a\nb"},
        {"label": " a"},
    ):
        with pytest.raises(UserError):
            create(**{**good, **bad})
    create(**{**good, "uses": INVITE_USES_MOST, "life_s": INVITE_LIFE_MOST_S, "label": "x" * INVITE_LABEL_CHARS})


def test_beyond_so_many_the_oldest_that_is_over_goes_and_a_live_one_never(house):
    made = [invite(house) for _ in range(INVITES_KEPT)]
    with pytest.raises(RefusedError, match="64 invites are live"):
        invite(house)
    invites = house.requests.invites
    invites.revoke(invites.name_of(made[5]))
    newest = invite(house)
    kept = [known.secret for known in invites.list_all()]
    assert len(kept) == INVITES_KEPT
    assert made[5].secret not in kept
    assert newest.secret in kept


def test_an_invite_is_named_by_its_label_or_the_beginning_of_its_id(house):
    invites = house.requests.invites
    made = invite(house, label="al")
    assert invites.find("al") == made
    assert invites.find(invites.name_of(made)[:4].upper()) == made
    with pytest.raises(UserError, match="too short"):
        invites.find("x")
    with pytest.raises(NotFoundError):
        invites.find("feedfeed00")
    invite(house, label="al")
    with pytest.raises(UserError, match="fits 2"):
        invites.find("al")


def test_what_is_kept_shows_nothing_of_the_secret(house):
    made = invite(house, label="alice")
    assert made.secret.hex() not in repr(made)
    assert repr(made) == "IssuedInvite('alice', 0 of 1)"


def test_a_disk_that_refuses_the_use_gives_nothing(house, owner, monkeypatch):
    made = invite(house)
    monkeypatch.setattr(house.state, "put_setting", lambda *_: (_ for _ in ()).throw(LocalError("full")))
    with pytest.raises(LocalError):
        come(house, owner, made)
    assert not house.requests.may_answer(owner.peer)


def test_invites_of_another_identity_are_none_of_ours(house):
    made = invite(house)
    others = Invites(house.state, PeerId(b"x" * 32), house.clock)
    assert others.keys_of(made).name != house.requests.invites.keys_of(made).name
