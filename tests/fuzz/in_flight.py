"""What arrives from peers, servers, strangers and worker processes, and what lies about in a user's folders.

As in `at_rest`: bytes of a fuzzer's end in a value or in an allowed error.
"""

import os
import socket

import msgspec
from court import Court

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.recovery.inboxes import check_note
from backuppeer.backup.frames import receive_frame
from backuppeer.backup.orders import Report
from backuppeer.backup.reading import Packed, PackTask, Reading, ReadTask
from backuppeer.backup.worker import ReadStart, RestoreStart, Task
from backuppeer.control.frames import decode_head
from backuppeer.crypto.envelope import ENVELOPE_OVERHEAD_BYTES, EnvelopeKey, seal_envelope
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.crypto.invitation import derive_nameplate
from backuppeer.crypto.keys import derive_working
from backuppeer.crypto.spoken import Exchange
from backuppeer.crypto.words import decode_words, encode_words
from backuppeer.errors import PeerFault, UserError
from backuppeer.files.ignore import Patterns, anywhere, read_lines
from backuppeer.host import heads, kept
from backuppeer.host.hold import Asked, Measure
from backuppeer.host.losses import split_report
from backuppeer.host.notice_file import split_notice
from backuppeer.host.removal_file import join_removal, split_removal
from backuppeer.ids import (
    AgreementId,
    PeerId,
    StoredId,
    TransportId,
    format_bech32m,
    format_peer_id,
    parse_peer_id,
)
from backuppeer.limits import FRAME_BYTES, HANDSHAKE_FRAME_BYTES, KNOCK_BYTES, NOTE_BYTES, WORKER_FRAME_BYTES
from backuppeer.proof import statements
from backuppeer.proof.audits import AuditAnswer, AuditChallenge
from backuppeer.proof.charges import pack_charge, pack_rebuttal, unpack_charge, unpack_rebuttal
from backuppeer.proof.custody import HeadHeld, LossReport, StoreAck
from backuppeer.proof.misbehaviour import judge
from backuppeer.proof.notices import Notice
from backuppeer.proof.receipts import GapNote, Receipt, Vouch
from backuppeer.proof.removals import PackDelete, PackRevive, PackWithdraw, open_removal
from backuppeer.proof.slots import SlotGift
from backuppeer.proof.succession import Succession
from backuppeer.proof.waivers import EndWaiver, LockWaiver, PurgeWaiver
from backuppeer.proof.writer import verify_head
from backuppeer.signaling import card, invite, knock, listing, messages, nameplate, note
from backuppeer.wire.codec import FrameReader, UnknownMessage, decode, encode
from backuppeer.wire.handshake import STREAM_OPENER, Handshake, TransportEnds
from backuppeer.wire.session import ControlStream, RequestStream, Speaker

NOW_MS = 1_795_000_000_000
KEY = SigningKey.from_seed(b"k" * 32)
OTHER = SigningKey.from_seed(b"o" * 32)
ENVELOPE = EnvelopeKey.from_private_bytes(b"e" * 96)
KINDS = (
    statements.WriterGrant,
    statements.Agreement,
    statements.Head,
    statements.HeadReceipt,
    statements.TransportBinding,
    PackDelete,
    PackRevive,
    PackWithdraw,
    StoreAck,
    AuditChallenge,
    AuditAnswer,
    LossReport,
    HeadHeld,
    Notice,
    LockWaiver,
    PurgeWaiver,
    EndWaiver,
    SlotGift,
    Receipt,
    GapNote,
    Vouch,
    Succession,
)
COURT = Court()
OWNER = HomeKeys(derive_working(bytes(32), 1), OTHER.public, OTHER, OTHER, bytes(32), b"", None)
"""Whose authority is its own identity: what a note is opened with."""


def _ignoring_faults(act, *args) -> None:
    try:
        act(*args)
    except PeerFault:
        return


def read_statement(data: bytes) -> None:
    """First byte: the kind. Then a blob, which we sign; the same bytes also as they are, whole and as a head's file."""
    kind, rest = KINDS[data[0] % len(KINDS)] if data else KINDS[0], data[1:]
    for act in (statements.peek_statement, statements.open_statement, statements.open_proposal):
        keys = [KEY.public] * (0 if act is statements.peek_statement else kind.signatures)
        if act is not statements.open_proposal:
            _ignoring_faults(act, kind, rest, *keys)
        elif kind.signatures > 1:
            _ignoring_faults(act, kind, rest, KEY.public)
    _ignoring_faults(statements.statement_hash, rest)
    _ignoring_faults(verify_head, rest, rest, KEY.public)
    _ignoring_faults(_read_head_file, rest)
    signed = len(rest).to_bytes(4, "big") + rest + KEY.sign(kind.purpose, rest) * kind.signatures
    said = statements.peek_statement(kind, signed)
    assert msgspec.msgpack.encode(said) == rest
    statements.open_statement(kind, signed, *[KEY.public] * kind.signatures)


def _read_head_file(data: bytes) -> None:
    verify_head(*heads._split(heads._MAGIC + data), KEY.public)


def read_removal(data: bytes) -> None:
    """First byte: the kind; second: how many packs. Then a blob, which their owner signs; also as a host's file."""
    for magic in (kept.PLAIN_MAGIC, kept.GRANTED_MAGIC, b"BPREM03\n"):
        _ignoring_values(split_removal, magic + data, 1)
    _ignoring_values(split_report, b"BPLOSS1\n" + data)
    _ignoring_values(split_notice, b"BPNOTE01\n" + data)
    kind = {1: PackRevive, 2: PackWithdraw}.get(data[0] if data else 0, PackDelete)
    packs = [StoredId(bytes([number]) * 32) for number in range(data[1] if data[1:] else 0)]
    blob = data[2:]
    signed = len(blob).to_bytes(4, "big") + blob + KEY.sign(kind.purpose, blob)
    said = open_removal(kind, signed, packs, owner=KEY.public, agreement=AgreementId(b"a" * 16))
    assert (said.packs, len({*packs})) == (len(packs), len(packs))
    for request in (kept.Kept(signed, tuple(packs)), kept.Kept(signed, tuple(packs), blob, signed[-64:])):
        for asked in (None, Asked(1, 2, Measure(3, 4), Measure(5, 6))):
            assert split_removal(join_removal(request, asked), 1) == (request, asked)


def read_charge(data: bytes) -> None:
    """First byte odd: a rebuttal to each true charge. Else a charge: only of what the one host signed is it proven."""
    how, body = data[:1], data[1:]
    if how and how[0] % 2:
        magic = b"BPREPLY\x01" if how[0] % 4 == 1 else b"BPREPLY\x02"
        rebuttal = unpack_rebuttal(magic + body)
        assert pack_rebuttal(rebuttal) == magic + body
        for charge in TRUE_CHARGES:
            verdict = judge(charge, rebuttal)
            assert verdict.is_proven or rebuttal.removals or rebuttal.agreements or rebuttal.endings
        return
    charge = unpack_charge(b"BPPROOF\x01" + body)
    assert pack_charge(charge) == b"BPPROOF\x01" + body
    verdict = judge(charge)
    assert verdict.reason.isprintable()
    assert not verdict.is_proven or (verdict.host, verdict.owner) == (COURT.host.public, COURT.owner.public)


TRUE_CHARGES = tuple(COURT.charges().values())


def read_wire(data: bytes) -> None:
    """First byte: who listens, and how large the pieces are in which the bytes arrive."""
    how, rest = data[0] if data else 0, data[1:]
    _ignoring_faults(_read_frames, rest, 1 + how // 8 * 16)
    listen = (_accept, _dial, _talk, _serve, _open)[how % 5]
    listen(rest)


def _read_frames(data: bytes, piece: int) -> None:
    reader = FrameReader(cap=HANDSHAKE_FRAME_BYTES)
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
        assert len(reader._buffer) <= HANDSHAKE_FRAME_BYTES + 4 + piece
        while (frame := reader.next_frame()) is not None:
            assert len(frame.body) < HANDSHAKE_FRAME_BYTES
            message = decode(frame)
            if not isinstance(message, UnknownMessage):
                again = FrameReader(cap=FRAME_BYTES)
                again.feed(encode(message))
                assert decode(again.next_frame()) == message
    reader.finish()


_ENDS = TransportEnds(TransportId(b"1" * 32), TransportId(b"2" * 32))


def _accept(data: bytes) -> None:
    _shake(Handshake.accept(KEY, lambda _: True, ends=_ENDS, randomness=bytes), STREAM_OPENER + data)


def _dial(data: bytes) -> None:
    side = Handshake.dial(KEY, PeerId(OTHER.public), ends=_ENDS, learned=_ENDS.acceptor, randomness=bytes)
    side.start()
    _shake(side, data)


def _shake(side: Handshake, data: bytes) -> None:
    while data and not side.is_over:
        wanted = side.wanted_bytes()
        assert wanted > 0
        side.receive(data[:wanted])
        data = data[wanted:]
    assert side.peer is None or side.peer.peer != KEY.public


def _frames_of(data: bytes):
    reader = FrameReader()
    reader.feed(data)
    while (frame := reader.next_frame()) is not None:
        yield frame


def _talk(data: bytes) -> None:
    stream = ControlStream()
    for frame in _frames_of(data):
        stream.receive(frame)


def _serve(data: bytes) -> None:
    stream = RequestStream(Speaker.SERVER)
    for frame in _frames_of(data):
        stream.receive(frame)


def _open(data: bytes) -> None:
    stream = RequestStream(Speaker.OPENER)
    for frame in _frames_of(data):
        stream.receive(frame)


def read_signaling(data: bytes) -> None:
    """A client's message and a server's: what can be read means the same when it is written again."""
    for read in (messages.decode_request, messages.decode_answer):
        try:
            message = read(data)
        except PeerFault:
            continue
        assert read(messages.encode(message)) == message


def read_listing(data: bytes) -> None:
    """The signed bytes as they are, and a blob that we sign."""
    _ignoring_faults(listing.open_listing, data, NOW_MS)
    signed = len(data).to_bytes(4, "big") + data + KEY.sign(Purpose.LISTING, data)
    found = listing.open_listing(signed, NOW_MS).listing
    assert len(signed) <= 2048
    assert listing.sign_listing(found, KEY)


def read_note(data: bytes) -> None:
    """A blob, signed by a host and sealed to us as an honest host would; then what the statements in it are worth."""
    signed = len(data).to_bytes(4, "big") + data + KEY.sign(Purpose.RECOVERY_NOTE, data)
    inbox = OTHER.public
    plain = signed[: note.PLAIN_BYTES].ljust(note.PLAIN_BYTES, b"\0")
    sealed = seal_envelope(ENVELOPE.public, plain, note._LABEL + inbox)
    opened = note.open_note(sealed, ENVELOPE, inbox=inbox)
    assert opened.host == KEY.public
    found = check_note(OWNER, 3, opened)
    assert (found.slot, found.host) == (3, KEY.public)


def read_card(data: bytes) -> None:
    """A blob, signed by the host of an invite and sealed to its bearers as an honest host would."""
    signed = len(data).to_bytes(4, "big") + data + KEY.sign(Purpose.INVITE_CARD, data)
    plain = signed[: note.PLAIN_BYTES].ljust(note.PLAIN_BYTES, b"\0")
    sealed = seal_envelope(ENVELOPE.public, plain, card._LABEL + OTHER.public)
    found = card.open_card(sealed, ENVELOPE, inbox=OTHER.public, host=PeerId(KEY.public), now_ms=NOW_MS)
    assert found.listing.peer == KEY.public
    assert 0 <= card.read_gift(found.listing) < 1 << 64


def read_invite(data: bytes) -> None:
    """What people paste; first byte odd: bytes that some program has spelt as an invite."""
    how, rest = data[:1], data[1:]
    text = format_bech32m("bpi", rest) if how and how[0] % 2 else os.fsdecode(rest)
    read = invite.parse_invite(text)
    assert invite.is_invite(text)
    assert invite.parse_invite(invite.format_invite(read)) == read
    assert len(read.keys.name) == 8


def read_spoken(data: bytes) -> None:
    """A message of a spoken code as whoever says its number would seal it. First byte: which of the three."""
    how, blob = data[:1], data[1:]
    which, place = how[0] % 3 if how else 0, derive_nameplate(7)
    size = NOTE_BYTES if which == 0 else KNOCK_BYTES
    framed = len(blob).to_bytes(2, "big") + blob if len(blob) < 1 << 16 else blob
    plain = framed[: size - ENVELOPE_OVERHEAD_BYTES].ljust(size - ENVELOPE_OVERHEAD_BYTES, b"\0")
    key = place.opener() if which == 0 else ENVELOPE
    sealed = seal_envelope(key.public, plain, nameplate._LABEL + OTHER.public)
    if which == 0:
        plate = nameplate.open_plate(sealed, place, OTHER.public, now_ms=NOW_MS)
        assert plate is None or plate.expires_ms > NOW_MS
    elif which == 1:
        word = nameplate.open_word(sealed, ENVELOPE, OTHER.public)
        Exchange("a-b", b"place", is_host=True).finish(word.message).open(word.confirmation, b"seen")
    else:
        nameplate.open_spoken_reply(sealed, ENVELOPE, OTHER.public)


def read_knock(data: bytes) -> None:
    """A blob, signed and sealed as its sender would; first byte odd: a reply to the knock that we sent."""
    how, blob = data[:1], data[1:]
    purpose = Purpose.KNOCK_REPLY if how and how[0] % 2 else Purpose.KNOCK
    signed = len(blob).to_bytes(4, "big") + blob + KEY.sign(purpose, blob)
    plain = signed[: knock.PLAIN_BYTES].ljust(knock.PLAIN_BYTES, b"\0")
    header = listing.envelope_id(ENVELOPE.public) + (7).to_bytes(8, "big")
    if purpose is Purpose.KNOCK:
        info = knock._knock_info(OTHER.public, header)
        sealed = header + seal_envelope(ENVELOPE.public, plain, info)
        knock.open_knock(sealed, ENVELOPE, recipient=PeerId(OTHER.public), now_ms=NOW_MS)
    else:
        sealed = header + seal_envelope(ENVELOPE.public, plain, knock._reply_info(ASKED, header))
        knock.open_reply(sealed, ENVELOPE, knock=ASKED)


ASKED = knock.Knock(
    recipient=KEY.public,
    listing_seq=7,
    envelope_id=listing.envelope_id(ENVELOPE.public),
    owner=OTHER.public,
    size_bytes=1,
    term_s=1,
    lock_s=1,
    transport=bytes(32),
    addresses=["10.0.0.1:1"],
    servers=[],
    reply_inbox=bytes(32),
    reply_key=ENVELOPE.public,
    nonce=bytes(16),
    issued_ms=NOW_MS,
    expires_ms=NOW_MS + 1000,
)


WORKER_KINDS = (Task, Report, RestoreStart | ReadStart, ReadTask | PackTask, Reading, list[Packed])


def read_worker(data: bytes) -> None:
    """A frame from the other end of a worker's socket, and the message in it; and heads of the control door."""
    _ignoring_values(decode_head, data[:5])
    if 1 << 20 < int.from_bytes(data[:4], "big") <= WORKER_FRAME_BYTES:
        return  # allocated on the word of the other end, which is ours; a fuzzer has no time for that
    here, there = socket.socketpair()
    with here, there:
        there.sendall(data[: 1 << 16])
        there.shutdown(socket.SHUT_WR)
        payload, descriptors = receive_frame(here)
    assert len(payload) <= WORKER_FRAME_BYTES
    assert descriptors == []
    for kind in WORKER_KINDS:
        _ignoring_values(lambda kind=kind: msgspec.msgpack.decode(payload, type=kind))


def _ignoring_values(act, *args) -> None:
    # MsgspecError and UnicodeDecodeError are ValueErrors: both ends are ours, and end at once.
    try:
        act(*args)
    except (ValueError, RecursionError):
        return


def read_ignore(data: bytes) -> None:
    """First byte: the flags. Up to a zero byte the lines of a .backupignore, then a path below it."""
    flags, rest = data[0] if data else 0, data[1:]
    text, _, path = rest.partition(b"\0")
    lines = read_lines(text)
    if flags & 2:
        lines = [anywhere(line) for line in lines]
    patterns = Patterns(lines, b"/base", ignore_case=bool(flags & 1))
    verdict = patterns.decide(b"/base/" + path[:4096].replace(b"\0", b""), is_directory=bool(flags & 4))
    assert verdict in {True, False, None}


def read_text(data: bytes) -> None:
    """What people type or paste: peer ids and words."""
    text = os.fsdecode(data)
    try:
        peer = parse_peer_id(text)
    except UserError:
        peer = None
    if peer is not None:
        assert format_peer_id(peer) == text.lower()
    if nameplate.is_spoken(text):
        code = nameplate.parse_code(text)
        assert nameplate.parse_code(str(code)) == code
    assert encode_words(decode_words(text))
