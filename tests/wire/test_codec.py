import os
from contextlib import suppress
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.limits import FRAME_BYTES
from backuppeer.wire import auditing as a
from backuppeer.wire import fields as f
from backuppeer.wire import messages as m
from backuppeer.wire import numbers
from backuppeer.wire import receipts as c
from backuppeer.wire import recovering as r
from backuppeer.wire import succeeding as u
from backuppeer.wire import terms as t
from backuppeer.wire.codec import Frame, FrameReader, UnknownMessage, decode, encode

ID16, ID32, SIG = bytes(16), bytes(32), bytes(64)
EXAMPLES = [
    m.Challenge(nonce=ID32),
    m.Proof(versions=(1, 2), features=3, dialler=ID32, acceptor=ID32, nonce=ID32, signature=SIG),
    m.Welcome(versions=(1, 2), version=1, features=3, signature=SIG),
    m.Hello(agreements=(b"a", b"b"), heads=(m.HeadState(ID16, b"h", b"g"),), binding=b"b", program="p"),
    m.Ping(number=4),
    m.Pong(number=2**63 - 1),
    m.Goodbye(reason=3),
    m.Unsupported(type=200),
    m.LaneWish(certificate=b"c"),
    m.LaneOffer(port=65535, certificate=b"c", token=ID32),
    m.ProposeAgreement(signed=b"s"),
    m.Agreed(signed=b"s"),
    m.Pending(size_bytes=1, term_s=2, lock_s=3),
    m.Refused(code=2, message="full", hint="ask less", free_bytes=9),
    m.PutPack(agreement=ID16, stored=ID32, size=1, is_list=True),
    m.Proceed(),
    m.Stored(),
    m.GetRange(agreement=ID16, stored=ID32, first_leaf=1023, leaves=1),
    m.Range(size=1, pack_bytes=2, path=(ID32, ID32)),
    m.PutHead(agreement=ID16, head=b"h", grant=b"g"),
    m.HeadStored(receipt=b"r"),
    m.HeadIs(head=b"h", grant=b"g"),
    m.GetHead(agreement=ID16),
    m.ListPacks(agreement=ID16, after=ID32, limit=7),
    m.PackList(packs=(m.PackRow(ID32, 5),), more=True),
    m.GetUsage(agreement=ID16),
    m.Usage(size_bytes=1, used_bytes=2, packs=3, free_bytes=4, deleted_bytes=5, next_free_bytes=6, next_free_s=7),
    m.DeletePacks(agreement=ID16, signed=b"s", packs=(ID32,)),
    m.Deleted(packs=1, lock_s=2),
    m.RevivePacks(agreement=ID16, signed=b"s", packs=(ID32, ID32)),
    m.Revived(packs=(ID32,)),
    m.ListDeleted(agreement=ID16, after=ID32, limit=7),
    m.DeletedList(packs=(m.DeletedRow(ID32, 5, 6),), more=True),
    m.WithdrawPacks(agreement=ID16, signed=b"s", packs=(ID32,)),
    m.Withdrawn(packs=(ID32,)),
    m.FindDrafts(agreement=ID16, packs=(ID32,)),
    m.DraftsAre(packs=(ID32,)),
    a.AckPacks(agreement=ID16, packs=(ID32,)),
    a.Acked(signed=b"s", packs=(ID32,)),
    a.AskAudit(agreement=ID16, signed=b"s"),
    a.Audited(signed=b"s", shown=(a.ShownRow(5, (ID32,)), a.ShownRow(0, ()))),
    a.GetLosses(agreement=ID16, after=3),
    a.Losses(reports=(a.LossRow(4, b"s", (ID32,)),), more=True),
    a.GetDelete(agreement=ID16, before=3),
    a.DeleteIs(number=2, signed=b"s", packs=(ID32,), device_sig=SIG),
    r.GiveSlot(agreement=ID16, seed=ID32, key=bytes(1216), servers=("wss://a.example",)),
    r.SlotKept(),
    t.GetTerms(agreement=ID16, after=3),
    t.TermsAre(revisions=(b"r", b"s"), more=True, notices=(b"n",), left_s=5),
    t.PutTerms(agreement=ID16, signed=b"s"),
    t.TermsPut(revision=2),
    t.GiveNotice(agreement=ID16, signed=b"s", device_sig=SIG, left_s=5),
    t.NoticeTaken(left_s=5),
    t.GiveWaiver(agreement=ID16, signed=b"s"),
    t.WaiverTaken(packs=2, size_bytes=3),
    u.Succeed(succession=b"s", proposals=(b"p", b"q")),
    u.Succeeded(succession=b"s", revisions=(b"r",)),
    u.Follow(proposals=(b"p", b"q")),
    u.Followed(revisions=(b"r",)),
    c.ProposeReceipt(agreement=ID16, signed=b"s", before=b"b"),
    c.ReceiptSigned(signed=b"s"),
    c.GetMyReceipts(agreement=ID16, after=3),
    c.MyReceiptsAre(receipts=(b"r",), more=True, notes=(b"n",)),
    c.AskReceipts(nonce=ID32),
    c.ReceiptsAre(salt=ID32, rows=bytes(2 * c.ROW_BYTES)),
    c.NameReceipts(names=(c.NamedRow(1, ID32, ID32),)),
    c.ReceiptsShown(statements=(b"s",), proofs=(7,)),
    c.AskOpinion(),
    c.OpinionIs(permille=612, level="fair", reasons=("30 days",)),
]


def frames_of(data, *, step=None, cap=FRAME_BYTES):
    reader, found = FrameReader(cap=cap), []
    for start in range(0, len(data), step or len(data)):
        reader.feed(data[start : start + (step or len(data))])
        while (frame := reader.next_frame()) is not None:
            found.append(frame)
    return found, reader


def test_every_type_has_one_number_and_an_example():
    kinds = {*f.Message.__subclasses__(), *m.RemovalRequest.__subclasses__()} - {m.RemovalRequest}
    assert {type(message) for message in EXAMPLES} == set(numbers.TYPES.values()) == kinds
    assert {kind: number for number, kind in numbers.TYPES.items()} == numbers.NUMBERS
    assert len(numbers.NUMBERS) == len(numbers.TYPES)


def test_the_numbers_are_those_of_the_specification():
    names = {number: kind.__name__ for number, kind in numbers.TYPES.items()}
    assert names == {
        1: "Challenge", 2: "Proof", 3: "Welcome", 4: "Hello", 5: "Ping", 6: "Pong", 7: "Goodbye", 9: "Unsupported",
        10: "LaneWish", 11: "LaneOffer",
        16: "ProposeAgreement", 17: "Agreed", 18: "Pending", 19: "Refused", 20: "PutPack", 21: "Proceed", 22: "Stored",
        23: "GetRange", 24: "Range", 25: "PutHead", 26: "HeadStored", 27: "HeadIs", 28: "GetHead", 29: "ListPacks",
        30: "PackList", 31: "GetUsage", 32: "Usage", 33: "DeletePacks", 34: "Deleted", 35: "RevivePacks", 36: "Revived",
        37: "ListDeleted", 38: "DeletedList", 39: "WithdrawPacks", 40: "Withdrawn",
        41: "AckPacks", 42: "Acked", 43: "AskAudit", 44: "Audited", 45: "GetLosses", 46: "Losses",
        53: "GiveSlot", 54: "SlotKept",
        47: "GetTerms", 48: "TermsAre", 49: "PutTerms", 50: "TermsPut", 51: "GiveNotice", 52: "NoticeTaken",
        60: "GiveWaiver", 61: "WaiverTaken", 62: "GetDelete", 63: "DeleteIs",
        64: "FindDrafts", 65: "DraftsAre", 66: "Succeed", 67: "Succeeded", 68: "Follow", 69: "Followed",
        70: "ProposeReceipt", 71: "ReceiptSigned", 72: "GetMyReceipts", 73: "MyReceiptsAre",
        74: "AskReceipts", 75: "ReceiptsAre", 76: "NameReceipts", 77: "ReceiptsShown",
        78: "AskOpinion", 79: "OpinionIs",
    }  # fmt: skip


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("step", [None, 1, 3])
def test_every_message_survives_the_wire_in_any_pieces(message, step):
    found, reader = frames_of(encode(message) * 2, step=step)
    assert [decode(frame) for frame in found] == [message, message]
    reader.finish()


def test_a_frame_is_length_type_and_a_map():
    assert encode(m.Goodbye(reason=3)) == b"\0\0\0\x0a\x07" + msgspec.msgpack.encode({"reason": 3})


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
def test_unknown_fields_are_ignored(message):
    body = msgspec.msgpack.decode(encode(message)[5:])
    body["a field of the next version"] = [{"x": 1}, b"y", None]
    assert decode(Frame(numbers.NUMBERS[type(message)], msgspec.msgpack.encode(body))) == message


def test_an_unknown_number_is_reported_as_such():
    assert decode(Frame(8, b"whatever")) == UnknownMessage(8)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
def test_missing_and_misfit_fields_are_protocol_violations(message):
    number, body = numbers.NUMBERS[type(message)], msgspec.msgpack.decode(encode(message)[5:])
    for field in msgspec.structs.fields(type(message)):
        spoiled = [{**body, field.encode_name: 1.5}]
        if field.required:
            spoiled.append({name: value for name, value in body.items() if name != field.encode_name})
        for bad in spoiled:
            with pytest.raises(ProtocolViolation):
                decode(Frame(number, msgspec.msgpack.encode(bad)))


def capped_fields():
    for kind in numbers.TYPES.values():
        for name, hint in get_type_hints(kind, include_extras=True).items():
            yield kind, name, hint


def test_every_field_of_variable_size_has_a_cap():
    for kind, name, hint in capped_fields():
        metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
        # Of fixed size by their type: a flag, and a pair of version numbers.
        assert hint in {bool, tuple[f.Version, f.Version]} or any(
            meta.max_length or meta.le or meta.lt for meta in metas
        ), (kind, name)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (m.Hello, {"agreements": [b""] * (limits.AGREEMENTS_PER_HELLO + 1)}),
        (m.Hello, {"heads": [[ID16, b"", b""]] * (limits.AGREEMENTS_PER_HELLO + 1)}),
        (m.Hello, {"binding": bytes(limits.SIGNED_BYTES + 1)}),
        (m.Hello, {"program": "x" * (limits.PROGRAM_CHARS + 1)}),
        (m.Refused, {"message": "x" * (limits.PROTOCOL_TEXT_CHARS + 1)}),
        (m.Range, {"size": 1, "pack_bytes": 1, "path": [ID32] * (limits.RANGE_PATH_NODES + 1)}),
        (m.Range, {"size": limits.PACK_TARGET_BYTES + 1, "pack_bytes": 1}),
        (m.PackList, {"packs": [[ID32, 1]] * (limits.PACK_LIST_PAGE + 1)}),
        (m.ListPacks, {"agreement": ID16, "limit": limits.PACK_LIST_PAGE + 1}),
        (m.GetRange, {"agreement": ID16, "stored": ID32, "first_leaf": 1024, "leaves": 1}),
        (m.GetRange, {"agreement": ID16, "stored": ID32, "first_leaf": 0, "leaves": 0}),
        (m.PutPack, {"agreement": ID16, "stored": ID32, "size": 0}),
        (m.PutPack, {"agreement": bytes(15), "stored": ID32, "size": 1}),
        (m.DeletePacks, {"agreement": ID16, "signed": b"", "packs": [ID32] * (limits.REMOVAL_PACKS + 1)}),
        (m.DeletePacks, {"agreement": ID16, "signed": b"", "packs": []}),
        (m.RevivePacks, {"agreement": ID16, "signed": b"", "packs": [ID32] * (limits.REMOVAL_PACKS + 1)}),
        (m.WithdrawPacks, {"agreement": ID16, "signed": b"", "packs": []}),
        (m.DeletePacks, {"agreement": ID16, "signed": b"", "packs": [ID32], "device_sig": bytes(65)}),
        (m.Withdrawn, {"packs": [ID32] * (limits.REMOVAL_PACKS + 1)}),
        (m.FindDrafts, {"agreement": ID16, "packs": [ID32] * (limits.REMOVAL_PACKS + 1)}),
        (m.FindDrafts, {"agreement": ID16, "packs": []}),
        (m.DraftsAre, {"packs": [ID32] * (limits.REMOVAL_PACKS + 1)}),
        (m.Revived, {"packs": [ID32] * (limits.REMOVAL_PACKS + 1)}),
        (m.DeletedList, {"packs": [[ID32, 1, 1]] * (limits.PACK_LIST_PAGE + 1)}),
        (r.GiveSlot, {"agreement": ID16, "seed": ID32, "key": bytes(1216), "servers": ["x"] * 5}),
        (r.GiveSlot, {"agreement": ID16, "seed": ID32, "key": bytes(1216), "servers": ["x" * 257]}),
        (r.GiveSlot, {"agreement": ID16, "seed": ID32, "key": bytes(1215)}),
        (r.GiveSlot, {"agreement": ID16, "seed": ID32, "key": bytes(1217)}),
        (t.TermsAre, {"revisions": [b""] * (limits.TERMS_PAGE + 1)}),
        (t.TermsAre, {"notices": [b""] * 3}),
        (t.GiveWaiver, {"agreement": ID16, "signed": bytes(limits.SIGNED_BYTES + 1)}),
        (t.GiveNotice, {"agreement": ID16, "signed": b"", "device_sig": bytes(65)}),
        (u.Succeed, {"succession": bytes(limits.SIGNED_BYTES + 1)}),
        (u.Succeed, {"succession": b"", "proposals": [b""] * (limits.AGREEMENTS_PER_HELLO + 1)}),
        (u.Succeeded, {"succession": b"", "revisions": [b""] * (limits.AGREEMENTS_PER_HELLO + 1)}),
        (u.Follow, {"proposals": [b""] * (limits.AGREEMENTS_PER_HELLO + 1)}),
        (u.Followed, {"revisions": [b""] * (limits.AGREEMENTS_PER_HELLO + 1)}),
        (m.Hello, {"authority": bytes(33)}),
        (m.Hello, {"succeeded": bytes(limits.SIGNED_BYTES + 1)}),
        (c.ProposeReceipt, {"agreement": ID16, "signed": bytes(limits.SIGNED_BYTES + 1)}),
        (c.MyReceiptsAre, {"receipts": [b""] * (limits.MY_RECEIPTS_PAGE + 1)}),
        (c.MyReceiptsAre, {"notes": [b""] * (limits.RECEIPT_GAP_MONTHS + 1)}),
        (c.ReceiptsAre, {"salt": ID32, "rows": bytes(limits.RECEIPT_ROWS * c.ROW_BYTES + 1)}),
        (c.NameReceipts, {"names": [[0, ID32, ID32]] * (limits.RECEIPTS_NAMED + 1)}),
        (c.NameReceipts, {"names": [[limits.RECEIPT_ROWS, ID32, ID32]]}),
        (c.ReceiptsShown, {"statements": [b""] * (limits.RECEIPTS_NAMED + 1)}),
        (c.ReceiptsShown, {"proofs": [1] * (limits.PROOFS_SHOWN + 1)}),
        (c.ReceiptsShown, {"proofs": [limits.PROOF_BYTES + 1]}),
        (c.OpinionIs, {"permille": 1001, "level": "new"}),
        (c.OpinionIs, {"permille": 1, "level": "x" * 17}),
        (c.OpinionIs, {"permille": 1, "level": "new", "reasons": ["x" * (limits.OPINION_REASON_CHARS + 1)]}),
        (c.OpinionIs, {"permille": 1, "level": "new", "reasons": ["x"] * (limits.OPINION_REASONS + 1)}),
        (m.Challenge, {"nonce": bytes(33)}),
        (m.Goodbye, {"reason": 256}),
        (m.Ping, {"number": -1}),
        (m.Ping, {"number": 2**64 - 1}),
        (m.Pending, {"size_bytes": 1, "term_s": 100 * 365 * 86400 + 1}),
        (m.Pending, {"size_bytes": 1, "lock_s": 2**60}),
    ],
)
def test_fields_over_their_cap_are_protocol_violations(kind, fields):
    with pytest.raises(ProtocolViolation):
        decode(Frame(numbers.NUMBERS[kind], msgspec.msgpack.encode(fields)))


def test_a_host_of_before_offers_nothing_instead_and_an_owner_of_before_just_waits():
    assert decode(Frame(numbers.NUMBERS[m.Pending], msgspec.msgpack.encode({}))) == m.Pending()
    assert m.Pending().size_bytes == 0


def test_a_host_of_before_tells_nothing_of_what_is_erased_next_and_doubles_no_hold():
    before = {"size_bytes": 1, "used_bytes": 2, "packs": 3, "free_bytes": 4, "deleted_bytes": 5}
    usage = decode(Frame(numbers.NUMBERS[m.Usage], msgspec.msgpack.encode(before)))
    assert (usage.next_free_bytes, usage.next_free_s, usage.spare_bytes) == (0, 0, 2**63 - 1)


@pytest.mark.parametrize("kind", [m.DeletePacks, m.RevivePacks, m.WithdrawPacks])
def test_a_request_about_packs_from_before_lacks_the_device_and_one_to_before_is_read_without_it(kind):
    class Before(msgspec.Struct, frozen=True, kw_only=True):
        agreement: m.Agreement
        signed: m.Signed
        packs: m.RemovalPacks

    old = Before(agreement=ID16, signed=b"s", packs=(ID32,))
    now = kind(agreement=ID16, signed=b"s", packs=(ID32,), device_sig=bytes(64))
    heard = decode(Frame(numbers.NUMBERS[kind], msgspec.msgpack.encode(old)))
    assert heard == kind(agreement=ID16, signed=b"s", packs=(ID32,))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(now), type=Before) == old


def test_the_largest_hello_and_the_largest_page_fit_a_frame():
    signed = bytes(limits.SIGNED_BYTES)
    count = limits.AGREEMENTS_PER_HELLO
    encode(m.Hello(agreements=(signed,) * count, heads=(m.HeadState(ID16, signed, signed),) * count, binding=signed))
    encode(m.PackList(packs=(m.PackRow(ID32, limits.PACK_TARGET_BYTES),) * limits.PACK_LIST_PAGE, more=True))
    rows = (m.DeletedRow(ID32, limits.PACK_TARGET_BYTES, 2**63 - 1),) * limits.PACK_LIST_PAGE
    encode(m.DeletedList(packs=rows, more=True))
    encode(m.DeletePacks(agreement=ID16, signed=signed, packs=(ID32,) * limits.REMOVAL_PACKS))


@pytest.mark.parametrize("length", [0, FRAME_BYTES + 1, 2**32 - 1])
@pytest.mark.parametrize("split", [1, 4])
def test_a_bad_length_is_refused_at_the_header_before_anything_is_kept(length, split):
    reader, header = FrameReader(), length.to_bytes(4, "big")
    body = bytes(100_000)
    if split < 4:
        reader.feed(header[:split])
    with pytest.raises(ProtocolViolation):
        reader.feed((header if split == 4 else header[split:]) + body)
    assert len(reader._buffer) <= 4


def test_a_bad_length_after_a_good_frame_is_refused():
    reader = FrameReader()
    reader.feed(encode(m.Ping()) + b"\xff\xff\xff\xff")
    assert reader.next_frame() is not None
    with pytest.raises(ProtocolViolation):
        reader.next_frame()


def test_a_reader_that_is_asked_never_takes_raw_bytes():
    raw = os.urandom(1000)
    stream = encode(m.Range(size=1000, pack_bytes=1000)) + raw
    reader = FrameReader()
    while wanted := reader.wanted_bytes():
        reader.feed(stream[:wanted])
        stream = stream[wanted:]
    assert stream == raw
    assert reader.next_frame() is not None
    assert reader.take_rest() == b""


def test_raw_bytes_that_were_read_with_a_frame_can_be_taken_back():
    reader = FrameReader()
    reader.feed(encode(m.Proceed()) + b"abc")
    assert reader.next_frame() is not None
    assert reader.take_rest() == b"abc"
    reader.finish()


def test_an_end_in_the_middle_of_a_frame_is_a_protocol_violation():
    reader = FrameReader()
    reader.feed(encode(m.Ping())[:-1])
    with pytest.raises(ProtocolViolation):
        reader.finish()


def test_a_reader_must_be_emptied_before_it_is_fed():
    reader = FrameReader()
    reader.feed(encode(m.Ping()))
    with pytest.raises(LocalError):
        reader.feed(b"x")


def test_we_never_send_what_the_peer_would_refuse():
    with pytest.raises(LocalError):
        encode(m.Hello(program="x" * 5000), cap=4096)

    class Strange(msgspec.Struct):
        pass

    with pytest.raises(LocalError):
        encode(Strange())


def test_hostile_bodies_end_in_our_error_alone():
    for number in numbers.TYPES:
        for body in (
            b"", b"\xc1", b"\x81\xa1x" + b"\x91" * 100_000, b"\x81\xa1x\xdd\xff\xff\xff\xff", b"\x80" * 2, b"\x90",
            b"\x81\xa7program\xa2\xff\xff", b"\x81\xaaagreements\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
            b"\x81\xa7message\xd9\x02\xc3\x28", b"\x81\xa1x\xd6\xff\xff\xff\xff\xff",
        ):  # fmt: skip
            try:
                message = decode(Frame(number, body))
            except ProtocolViolation:
                continue
            assert isinstance(message, f.Message)


@given(st.sampled_from(sorted(numbers.TYPES)), st.binary(max_size=400))
def test_any_body_is_a_message_or_a_protocol_violation(number, body):
    try:
        message = decode(Frame(number, body))
    except ProtocolViolation:
        return
    assert decode(Frame(number, encode(message)[5:])) == message


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_message_with_changed_bytes_is_a_message_or_a_protocol_violation(message, data):
    body = bytearray(encode(message)[5:])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolViolation):
        decode(Frame(numbers.NUMBERS[type(message)], bytes(body)))


@given(st.lists(st.binary(max_size=50)), st.integers(1, 64))
def test_the_reader_never_holds_more_than_a_frame_and_a_feed(pieces, cap):
    reader = FrameReader(cap=cap)
    for piece in pieces:
        try:
            reader.feed(piece)
            while reader.next_frame() is not None:
                pass
        except ProtocolViolation:
            return
        assert len(reader._buffer) <= cap + 4 + len(piece)


@given(st.lists(st.sampled_from(EXAMPLES), max_size=6), st.integers(1, 40))
def test_any_sequence_of_messages_survives_any_pieces(sequence, step):
    found, _ = frames_of(b"".join(map(encode, sequence)), step=step)
    assert [decode(frame) for frame in found] == sequence
