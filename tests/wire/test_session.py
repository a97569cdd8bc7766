import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backuppeer.errors import AuthenticationFault, LocalError, PeerUnreachable, ProtocolViolation
from backuppeer.limits import DEAD_AFTER_S, HEARTBEAT_S, IDLE_CLOSE_S, LEAF_BYTES, UNKNOWN_MESSAGES
from backuppeer.wire import auditing as a
from backuppeer.wire import messages as m
from backuppeer.wire import numbers
from backuppeer.wire import receipts as c
from backuppeer.wire import recovering as r
from backuppeer.wire import succeeding as u
from backuppeer.wire import terms as t
from backuppeer.wire.codec import Frame, FrameReader, UnknownMessage, encode
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.session import (
    ControlStream,
    HeartbeatAction,
    Pulse,
    RequestStream,
    Speaker,
    State,
    choose_close,
    is_idle,
    is_kept_when_dialled_by,
    measure_range,
    plan_heartbeat,
)
from backuppeer.wire.table import TABLE, state_after_receiving, state_after_sending

ID16, ID32 = bytes(16), bytes(32)
SAMPLES = {
    m.Challenge: m.Challenge(nonce=ID32),
    m.Proof: m.Proof(versions=(1, 1), features=0, dialler=ID32, acceptor=ID32, nonce=ID32, signature=bytes(64)),
    m.Welcome: m.Welcome(versions=(1, 1), version=1, features=0, signature=bytes(64)),
    m.Unsupported: m.Unsupported(type=99),
    m.ProposeAgreement: m.ProposeAgreement(signed=b""),
    m.Agreed: m.Agreed(signed=b""),
    m.PutPack: m.PutPack(agreement=ID16, stored=ID32, size=1),
    m.GetRange: m.GetRange(agreement=ID16, stored=ID32, first_leaf=0, leaves=1),
    m.Range: m.Range(size=1, pack_bytes=1),
    m.PutHead: m.PutHead(agreement=ID16, head=b"", grant=b""),
    m.HeadStored: m.HeadStored(receipt=b""),
    m.GetHead: m.GetHead(agreement=ID16),
    m.ListPacks: m.ListPacks(agreement=ID16),
    m.GetUsage: m.GetUsage(agreement=ID16),
    m.Usage: m.Usage(size_bytes=0, used_bytes=0, packs=0, free_bytes=0),
    m.DeletePacks: m.DeletePacks(agreement=ID16, signed=b"", packs=(ID32,)),
    m.Deleted: m.Deleted(packs=0, lock_s=0),
    m.RevivePacks: m.RevivePacks(agreement=ID16, signed=b"", packs=(ID32,)),
    m.ListDeleted: m.ListDeleted(agreement=ID16),
    m.WithdrawPacks: m.WithdrawPacks(agreement=ID16, signed=b"", packs=(ID32,)),
    m.FindDrafts: m.FindDrafts(agreement=ID16, packs=(ID32,)),
    a.AckPacks: a.AckPacks(agreement=ID16, packs=(ID32,)),
    a.AskAudit: a.AskAudit(agreement=ID16, signed=b""),
    a.GetLosses: a.GetLosses(agreement=ID16),
    a.GetDelete: a.GetDelete(agreement=ID16),
    t.GetTerms: t.GetTerms(agreement=ID16),
    t.PutTerms: t.PutTerms(agreement=ID16, signed=b""),
    t.GiveNotice: t.GiveNotice(agreement=ID16, signed=b""),
    t.GiveWaiver: t.GiveWaiver(agreement=ID16, signed=b""),
    u.Succeed: u.Succeed(succession=b""),
    u.Succeeded: u.Succeeded(succession=b""),
    u.Follow: u.Follow(proposals=()),
    u.Followed: u.Followed(revisions=()),
    a.Audited: a.Audited(signed=b"", shown=()),
    r.GiveSlot: r.GiveSlot(agreement=ID16, seed=ID32, key=bytes(1216)),
    c.ProposeReceipt: c.ProposeReceipt(agreement=ID16, signed=b""),
    c.ReceiptSigned: c.ReceiptSigned(signed=b""),
    c.GetMyReceipts: c.GetMyReceipts(agreement=ID16),
    c.AskReceipts: c.AskReceipts(nonce=ID32),
    c.ReceiptsAre: c.ReceiptsAre(salt=ID32),
    c.OpinionIs: c.OpinionIs(permille=0, level="new"),
    m.LaneWish: m.LaneWish(certificate=b"c"),
    m.LaneOffer: m.LaneOffer(port=0),
}
UNKNOWN = Frame(200, b"\x80")


def sample(kind):
    return SAMPLES[kind] if kind in SAMPLES else kind()


def frame(message):
    reader = FrameReader()
    reader.feed(encode(message))
    found = reader.next_frame()
    assert found is not None
    return found


def greeted():
    near, far = ControlStream(), ControlStream()
    near.send(m.Hello())
    far.receive(frame(m.Hello()))
    far.send(m.Hello())
    near.receive(frame(m.Hello()))
    return near, far


# --- the table


@given(st.sampled_from(Speaker), st.sampled_from(State), st.sampled_from(sorted(numbers.TYPES)))
def test_a_pair_that_is_not_listed_is_an_error_of_whoever_says_it(speaker, state, number):
    kind = numbers.TYPES[number]
    if (speaker, state, kind) in TABLE:
        assert state_after_receiving(speaker, state, kind) is TABLE[speaker, state, kind]
        assert state_after_sending(speaker, state, kind) is TABLE[speaker, state, kind]
        return
    with pytest.raises(ProtocolViolation):
        state_after_receiving(speaker, state, kind)
    with pytest.raises(LocalError):
        state_after_sending(speaker, state, kind)


def test_every_message_has_its_place_and_every_state_a_way_out():
    assert {kind for _, _, kind in TABLE} == set(numbers.TYPES.values())
    ends = {State.PROVEN, State.FAILED, State.LEAVING, State.ENDED}
    assert {state for _, state, _ in TABLE} == set(State) - ends
    assert all(state not in ends for _, state, _ in TABLE)


# --- control stream


def test_both_greet_then_talk_then_leave():
    near, far = greeted()
    assert near.has_greeted
    assert far.has_greeted
    near.send(m.Ping(number=1))
    assert far.receive(frame(m.Ping(number=1))) == m.Ping(number=1)
    far.send(m.Pong(number=1))
    near.receive(frame(m.Pong(number=1)))
    near.send(m.Goodbye())
    far.receive(frame(m.Goodbye()))
    assert near.is_leaving
    assert far.is_leaving
    for kind in (m.Ping, m.Goodbye, m.Hello):
        with pytest.raises(ProtocolViolation):
            far.receive(frame(sample(kind)))
        with pytest.raises(LocalError):
            near.send(sample(kind))


@pytest.mark.parametrize("kind", sorted(set(numbers.TYPES.values()) - {m.Hello, m.Goodbye}, key=lambda k: k.__name__))
def test_nothing_but_hello_or_goodbye_comes_first(kind):
    with pytest.raises(ProtocolViolation):
        ControlStream().receive(frame(sample(kind)))


TALK = {m.Ping, m.Pong, m.Goodbye, m.Unsupported, m.LaneWish, m.LaneOffer}


@pytest.mark.parametrize(
    "kind",
    sorted(set(numbers.TYPES.values()) - TALK, key=lambda k: k.__name__),
)
def test_a_message_that_is_not_of_the_session_breaks_it(kind):
    near, _ = greeted()
    with pytest.raises(ProtocolViolation):
        near.receive(frame(sample(kind)))


def test_an_unknown_type_is_answered_unsupported_and_changes_nothing():
    near, far = greeted()
    unknown = near.receive(UNKNOWN)
    assert unknown == UnknownMessage(200)
    answer = m.Unsupported(type=unknown.number)
    near.send(answer)
    assert far.receive(frame(answer)) == answer
    near.receive(frame(m.Ping()))


def test_unknown_types_before_hello_or_without_end_break_the_session():
    with pytest.raises(ProtocolViolation):
        ControlStream().receive(UNKNOWN)
    near, _ = greeted()
    for _ in range(UNKNOWN_MESSAGES):
        near.receive(UNKNOWN)
    with pytest.raises(ProtocolViolation):
        near.receive(UNKNOWN)


# --- request streams

CONVERSATIONS = [
    [m.ProposeAgreement, m.Agreed],
    [m.ProposeAgreement, m.Pending],
    [m.PutPack, m.Stored],
    [m.GetRange, m.Range],
    [m.PutHead, m.HeadStored],
    [m.PutHead, m.HeadIs],
    [m.GetHead, m.HeadIs],
    [m.ListPacks, m.PackList],
    [m.GetUsage, m.Usage],
    [m.DeletePacks, m.Deleted],
    [m.RevivePacks, m.Revived],
    [m.ListDeleted, m.DeletedList],
    [m.WithdrawPacks, m.Withdrawn],
    [m.FindDrafts, m.DraftsAre],
    [a.AckPacks, a.Acked],
    [a.AskAudit, a.Audited],
    [a.GetLosses, a.Losses],
    [a.GetDelete, a.DeleteIs],
    [r.GiveSlot, r.SlotKept],
    [t.GetTerms, t.TermsAre],
    [t.PutTerms, t.TermsPut],
    [t.GiveNotice, t.NoticeTaken],
    [t.GiveWaiver, t.WaiverTaken],
    [u.Succeed, u.Succeeded],
    [u.Follow, u.Followed],
    [c.ProposeReceipt, c.ReceiptSigned],
    [c.GetMyReceipts, c.MyReceiptsAre],
    [c.AskOpinion, c.OpinionIs],
]
QUESTIONS = sorted({c.AskReceipts, *(talk[0] for talk in CONVERSATIONS)}, key=lambda k: k.__name__)


def ask(question):
    opener, server = RequestStream(Speaker.OPENER), RequestStream(Speaker.SERVER)
    opener.send(sample(question))
    server.receive(frame(sample(question)))
    return opener, server


@pytest.mark.parametrize("talk", CONVERSATIONS, ids=lambda t: "-".join(k.__name__ for k in t))
def test_a_question_has_its_answer_and_then_the_request_has_ended(talk):
    opener, server = ask(talk[0])
    server.send(sample(talk[1]))
    opener.receive(frame(sample(talk[1])))
    assert opener.state is server.state is State.ENDED
    for kind in numbers.TYPES.values():
        with pytest.raises(ProtocolViolation):
            opener.receive(frame(sample(kind)))
        with pytest.raises(LocalError):
            server.send(sample(kind))


def test_receipts_are_told_named_and_shown_in_turns_on_one_stream():
    talk = [c.ReceiptsAre(salt=ID32), c.NameReceipts(), c.ReceiptsShown()]
    opener, server = ask(c.AskReceipts)
    for number, message in enumerate(talk):
        speaker, listener = (opener, server) if number == 1 else (server, opener)
        for other in (m.Range(size=1, pack_bytes=1), *(one for one in talk if one is not message)):
            with pytest.raises(LocalError):
                speaker.send(other)
            with pytest.raises(ProtocolViolation):
                listener.receive(frame(other))
        speaker.send(message)
        listener.receive(frame(message))
    assert opener.state is server.state is State.ENDED


def test_an_upload_proceeds_to_raw_bytes_and_ends_stored_or_refused():
    for last in (m.Stored, m.Refused):
        opener, server = ask(m.PutPack)
        server.send(m.Proceed())
        opener.receive(frame(m.Proceed()))
        assert opener.state is server.state is State.PUT_SENDING
        with pytest.raises(LocalError):
            opener.send(sample(m.PutPack))
        with pytest.raises(ProtocolViolation):
            server.receive(frame(sample(m.PutPack)))
        with pytest.raises(ProtocolViolation):
            opener.receive(frame(m.Proceed()))
        opener, server = ask(m.PutPack)
        for message in (m.Proceed(), sample(last)):
            server.send(message)
            opener.receive(frame(message))
        assert opener.state is State.ENDED


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_may_be_refused_or_unsupported(question):
    for answer in (m.Refused, m.Unsupported):
        opener, server = ask(question)
        server.send(sample(answer))
        opener.receive(frame(sample(answer)))
        assert opener.state is State.ENDED


@pytest.mark.parametrize("question", QUESTIONS)
def test_any_other_answer_is_a_protocol_violation(question):
    fitting = {talk[1] for talk in CONVERSATIONS if talk[0] is question} | {m.Refused, m.Unsupported, m.Proceed}
    fitting |= {c.ReceiptsAre} if question is c.AskReceipts else set()
    for kind in set(numbers.TYPES.values()) - fitting:
        opener, server = ask(question)
        with pytest.raises(ProtocolViolation):
            opener.receive(frame(sample(kind)))
        with pytest.raises(LocalError):
            server.send(sample(kind))


def test_only_questions_open_a_request():
    for kind in set(numbers.TYPES.values()) - set(QUESTIONS):
        with pytest.raises(ProtocolViolation):
            RequestStream(Speaker.SERVER).receive(frame(sample(kind)))
        with pytest.raises(LocalError):
            RequestStream(Speaker.OPENER).send(sample(kind))


def test_a_peer_of_before_answers_the_gift_of_a_slot_with_unsupported_which_ends_that_request_alone():
    opener = RequestStream(Speaker.OPENER)
    opener.send(sample(r.GiveSlot))
    answer = opener.receive(frame(m.Unsupported(type=numbers.NUMBERS[r.GiveSlot])))
    assert answer == m.Unsupported(type=53)
    assert opener.state is State.ENDED


def test_an_unknown_question_is_answered_unsupported():
    server = RequestStream(Speaker.SERVER)
    answer = server.receive(UNKNOWN)
    assert answer == m.Unsupported(type=200)
    server.send(answer)
    assert server.state is State.ENDED


def test_an_unknown_answer_is_a_protocol_violation():
    opener, _ = ask(m.GetUsage)
    with pytest.raises(ProtocolViolation):
        opener.receive(UNKNOWN)


def test_a_message_that_can_not_be_encoded_changes_no_state():
    opener = RequestStream(Speaker.OPENER)
    with pytest.raises(LocalError):
        opener.send(m.ProposeAgreement(signed=bytes(300 * 1024)))
    assert opener.state is State.ASKING


# --- ranges


def ranged(first, leaves):
    return m.GetRange(agreement=ID16, stored=ID32, first_leaf=first, leaves=leaves)


@pytest.mark.parametrize(
    ("first", "leaves", "pack", "size"),
    [
        (0, 1, LEAF_BYTES * 3, LEAF_BYTES),
        (2, 1, LEAF_BYTES * 3, LEAF_BYTES),
        (1, 64, LEAF_BYTES * 2 + 100, LEAF_BYTES + 100),
        (0, 1024, 5, 5),
    ],
)
def test_a_range_has_whole_leaves_but_for_the_end(first, leaves, pack, size):
    assert measure_range(ranged(first, leaves), m.Range(size=size, pack_bytes=pack)) == size
    for wrong in (size - 1, size + 1):
        with pytest.raises(ProtocolViolation):
            measure_range(ranged(first, leaves), m.Range(size=wrong, pack_bytes=pack))


def test_a_range_past_the_end_is_a_protocol_violation():
    with pytest.raises(ProtocolViolation):
        measure_range(ranged(2, 1), m.Range(size=1, pack_bytes=LEAF_BYTES * 2))


# --- decisions


def test_before_the_proof_every_failure_closes_alike():
    errors = [ProtocolViolation("x"), AuthenticationFault("x"), PeerUnreachable("x"), OSError(), KeyError()]
    assert {choose_close(error, is_proven=False) for error in errors} == {CloseCode.REJECTED}
    assert choose_close(ProtocolViolation("x"), is_proven=True) is CloseCode.VIOLATION


def test_of_two_connections_dialled_at_once_both_sides_keep_the_same():
    small, large = bytes(32), b"\1" * 32
    assert is_kept_when_dialled_by(small, large)
    assert not is_kept_when_dialled_by(large, small)
    with pytest.raises(LocalError):
        is_kept_when_dialled_by(small, small)


def drive(pulse, until_s, heard=()):
    """Ask as often as told, hearing the peer at given times; return the actions with their times."""
    now, actions, heard = pulse.checked_s, [], sorted(heard)
    while now <= until_s:
        while heard and heard[0] <= now:
            pulse = pulse.hear(heard.pop(0))
        action, pulse, wait = plan_heartbeat(pulse, now)
        actions.append((now, action))
        if action is HeartbeatAction.DEAD:
            break
        assert wait > 0
        now += wait
    return actions


def test_a_silent_peer_is_pinged_and_dead_after_its_time():
    actions = drive(Pulse(0, 0, 0), 100)
    pings = [now for now, action in actions if action is HeartbeatAction.PING]
    assert pings == [HEARTBEAT_S, 2 * HEARTBEAT_S]
    assert actions[-1] == (DEAD_AFTER_S, HeartbeatAction.DEAD)


def test_a_peer_that_answers_lives():
    actions = drive(Pulse(0, 0, 0), 100, heard=[n * HEARTBEAT_S for n in range(21)])
    assert HeartbeatAction.DEAD not in {action for _, action in actions}
    assert sum(action is HeartbeatAction.PING for _, action in actions) == 20


def test_our_own_sleep_is_not_the_peers_death():
    action, pulse, _ = plan_heartbeat(Pulse(0, 0, 0), 3600)
    assert action is HeartbeatAction.PING
    assert drive(pulse, 4000)[-1] == (3600 + DEAD_AFTER_S, HeartbeatAction.DEAD)


@given(st.floats(0, 1e6), st.floats(0, 60), st.floats(0, 60), st.floats(0, 60))
@example(10.963666551141216, 0.0, 10.963666551141216 - 5.963666551141217, 0.0)
def test_heartbeat_never_stalls_and_never_kills_early(now, heard_ago, pinged_ago, checked_ago):
    pulse = Pulse(now - heard_ago, now - pinged_ago, now - checked_ago)
    action, after, wait = plan_heartbeat(pulse, now)
    assert after.checked_s == now
    assert 0 <= wait <= HEARTBEAT_S
    assert wait > 0 or action is HeartbeatAction.DEAD
    if action is HeartbeatAction.DEAD:
        assert now >= pulse.heard_s + DEAD_AFTER_S
        assert now - pulse.checked_s <= 2 * HEARTBEAT_S


def test_a_session_is_idle_after_its_time():
    assert not is_idle(used_s=5, now_s=5 + IDLE_CLOSE_S - 1)
    assert is_idle(used_s=5, now_s=5 + IDLE_CLOSE_S)
