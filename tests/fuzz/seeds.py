"""Makes the first inputs of each target of what honest writers write: `python -m fuzz.seeds DIRECTORY` in tests/."""

import hashlib
import struct
import sys
from pathlib import Path

import msgspec
import zstandard
from court import LIE

from agent.repute.shelved import receipt, vouch
from backuppeer.backup.likeness import take_look
from backuppeer.backup.orders import Failed, Order, Part, Report, WantedBlob, WholeFile
from backuppeer.backup.reading import FileRead, FileToRead, Packed, PackTask, Reading, ReadTask
from backuppeer.backup.worker import ReadStart, Task
from backuppeer.crypto.words import encode_words
from backuppeer.host import heads
from backuppeer.ids import (
    AgreementId,
    BlobId,
    LogicalId,
    PeerId,
    RepositoryId,
    SnapshotId,
    StoredId,
    format_peer_id,
    parse_bech32m,
)
from backuppeer.proof.charges import Rebuttal, pack_charge, pack_rebuttal
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.removals import PackDelete, PackRevive, PackWithdraw, sign_removal
from backuppeer.proof.slots import SlotGift
from backuppeer.proof.statements import (
    Agreement,
    Head,
    HeadReceipt,
    TransportBinding,
    WriterGrant,
    sign_statement,
    statement_hash,
)
from backuppeer.proof.succession import Succession
from backuppeer.proof.waivers import EndWaiver, LockWaiver, PurgeWaiver
from backuppeer.repo import layout
from backuppeer.repo.blob import BlobKind, Codec
from backuppeer.repo.extension import Link, encode_extension
from backuppeer.repo.head import Inventory, encode_inventory
from backuppeer.repo.layout import Entry
from backuppeer.repo.pack import seal_pack
from backuppeer.repo.snapshot import encode_snapshot
from backuppeer.repo.tree import EntryKind, encode_pieces
from backuppeer.signaling import card, invite, knock, listing, nameplate, note
from backuppeer.signaling import messages as said
from backuppeer.wire import auditing, receipts, recovering, succeeding, terms
from backuppeer.wire import messages as wire
from backuppeer.wire.codec import encode
from fuzz.in_flight import ASKED, COURT, ENVELOPE, KEY, KINDS, NOW_MS, OTHER, TRUE_CHARGES
from fuzz.targets import TARGETS
from host.host_world import World
from repo.building import KEYS, close_pack, entry, keys_for, make_snapshot
from signaling.kit import Host


def _packs():
    closed = close_pack(b"x", b"text " * 300, bytes(range(256)) * 3)
    pack = seal_pack(closed, KEYS, layout.Suite.CHACHA20_POLY1305)
    plain = layout.encode_directory(LogicalId(b"l" * 16), closed.entries)
    footer = layout.Footer(closed.length - len(plain) - 16 - layout.END_BYTES, len(plain) + 16, closed.length, 3)
    yield b"\0" + bytes(pack.data[-600:])
    yield b"\1" + layout.encode_footer(footer)
    yield b"\2" + pack.header
    yield b"\3" + plain
    assert keys_for


def _tails():
    for offset, count in ((64, 1), (200_000, 3), (4096, 700)):
        size = 21 + 42 * count + 16
        yield struct.pack(">IIQI12x", 262_144 - 112 - size, size, 262_144, count) + bytes(16)
        yield struct.pack(">IIQI12x", offset, size, 262_144, count)


def _blobs():
    for plain in (b"", b"a" * 5000, bytes(range(256)) * 4):
        packed = zstandard.ZstdCompressor(level=3).compress(plain)
        yield b"\0" + len(plain).to_bytes(4, "big") + plain
        yield b"\1" + len(plain).to_bytes(4, "big") + packed


def _trees():
    ext = encode_extension(attributes={b"user.a": b"1", b"user.b": b""}, link=Link(3, 2), is_sparse=True)
    entries = [
        entry(b"a", content=bytes(64), size=70_000, user="ann", group="staff", ext=ext),
        entry(b"b", EntryKind.DIRECTORY, content=bytes(32)),
        entry(b"c", EntryKind.SYMLINK, target=b"../x"),
        entry(b"d", EntryKind.FIFO),
        entry(b"e", EntryKind.BLOCK_DEVICE, ext=encode_extension(device=(8, 1))),
        entry(b"f", content=bytes(32), depth=1, mtime_ns=-1),
        entry(b"\xff\xfe", inode=2**64 - 1, mode=0o7777),
    ]
    yield from encode_pieces(entries)
    yield from encode_pieces([])
    yield from (piece for one in entries for piece in encode_pieces([one]))
    yield b"\1" + bytes(64)


def _inventories():
    for snapshots, packs in ((0, 1), (2, 3), (1, 40)):
        made = encode_inventory(
            KEYS,
            Inventory(
                tuple(SnapshotId(bytes([n]) * 32) for n in range(snapshots)),
                tuple(LogicalId(bytes([n + 1]) * 16) for n in range(packs)),
            ),
        )
        yield len(made.root).to_bytes(2, "big") + made.root + b"".join(made.pieces)


def _snapshots():
    yield encode_snapshot(make_snapshot(bytes(32)))
    yield encode_snapshot(make_snapshot(bytes(64), parent=bytes(32), tags=["a", "ü"], ext={"original": bytes(32)}))


def _statements():
    world = World()
    one = {"time_ms": NOW_MS, "transport": b"t" * 32, "addresses": ["10.0.0.1:4433"]}
    binding = sign_statement(TransportBinding(peer=PeerId(KEY.public), **one), KEY)
    for kind, signed in (
        (0, world.grant()),
        (1, world.agree()),
        (2, world.head(1)),
        (2, world.head(2, world.head(1))),
        (4, binding),
        (13, sign_notice(AgreementId(b"a" * 16), KEY, last=0, time_ms=NOW_MS)),
        (18, receipt(1, 2, months=2).signed),
        (20, vouch(1, 2)[1]),
    ):
        blob = signed[4 : 4 + int.from_bytes(signed[:4], "big")]
        yield bytes([kind]) + signed
        yield bytes([kind]) + blob
        yield bytes([kind]) + blob.replace(world.device.public, KEY.public).replace(world.owner.public, KEY.public)
    yield b"\2" + heads._join(world.head(1), world.grant())[8:]
    packs = [StoredId(b"s" * 32)]
    removal = {"agreement": AgreementId(b"a" * 16), "head": (b"h" * 32, 7), "time_ms": NOW_MS}
    for number, kind in enumerate((PackDelete, PackRevive, PackWithdraw), 5):
        signed = sign_removal(kind, packs, KEY, **removal)
        yield bytes([number]) + signed[4 : 4 + int.from_bytes(signed[:4], "big")]
    for number, signed in enumerate(
        (COURT.ack(), COURT.challenge(), COURT.lie(b"\0\0\0\1x", LIE), COURT.loss(), COURT.held()), 8
    ):
        yield bytes([number]) + signed[4 : 4 + int.from_bytes(signed[:4], "big")]
    bound = {"agreement": AgreementId(b"a" * 16), "host": PeerId(KEY.public), "terms": b"t" * 32, "time_ms": NOW_MS}
    for number, waiver in enumerate(
        (
            LockWaiver(**bound, lock_s=9),
            PurgeWaiver(**bound, packs=1, packs_root=b"r" * 32),
            EndWaiver(**bound, notice=1),
        ),
        14,
    ):
        yield bytes([number]) + sign_statement(waiver, KEY)
    gift = {"seed": bytes(32), "key": bytes(1216), "servers": ["wss://a.example"], "time_ms": NOW_MS}
    signed = sign_statement(SlotGift(agreement=AgreementId(b"a" * 16), **gift), KEY)
    yield bytes([17]) + signed[4 : 4 + int.from_bytes(signed[:4], "big")]
    heir = {"authority": KEY.public, "old": PeerId(OTHER.public), "new": PeerId(KEY.public), "generation": 2}
    signed = sign_statement(Succession(**heir, time_ms=NOW_MS), KEY, KEY)
    yield bytes([21]) + signed[4 : 4 + int.from_bytes(signed[:4], "big")]
    assert len(KINDS) == 22


def _charges():
    yield from (b"\0" + pack_charge(charge)[8:] for charge in TRUE_CHARGES)
    for rebuttal in (
        Rebuttal(removals=[COURT.delete(6), COURT.delete(9)]),
        Rebuttal(agreements=[COURT.agree(2, term_s=9)]),
    ):
        yield b"\1" + pack_rebuttal(rebuttal)[8:]
    yield (
        b"\3" + pack_rebuttal(Rebuttal(endings=[sign_notice(COURT.agreement, COURT.owner, last=0, time_ms=NOW_MS)]))[8:]
    )


def _wires():
    agreement, stored = AgreementId(b"a" * 16), StoredId(b"s" * 32)
    control = [
        wire.Hello(
            agreements=(b"x" * 80,), heads=(wire.HeadState(agreement, b"h", b"g"),), program="p", succeeded=b"s"
        ),
        wire.Ping(number=3),
        wire.LaneWish(certificate=b"c"),
        wire.LaneOffer(port=1, certificate=b"c", token=b"t"),
        wire.Goodbye(),
    ]
    yield b"\2" + b"".join(map(encode, control))
    asked = [
        wire.ProposeAgreement(signed=b"s", device_sig=bytes(64)),
        wire.PutPack(agreement=agreement, stored=stored, size=70_000),
        wire.GetRange(agreement=agreement, stored=stored, first_leaf=1, leaves=2),
        wire.PutHead(agreement=agreement, head=b"h", grant=b"g"),
        wire.GetHead(agreement=agreement),
        wire.ListPacks(agreement=agreement),
        wire.GetUsage(agreement=agreement),
        wire.DeletePacks(agreement=agreement, signed=b"s", packs=(stored,)),
        wire.RevivePacks(agreement=agreement, signed=b"s", packs=(stored,)),
        wire.ListDeleted(agreement=agreement),
        auditing.AckPacks(agreement=agreement, packs=(stored,)),
        auditing.AskAudit(agreement=agreement, signed=b"s"),
        auditing.GetLosses(agreement=agreement),
        auditing.GetDelete(agreement=agreement, before=2),
        recovering.GiveSlot(agreement=agreement, seed=bytes(32), key=bytes(1216), servers=("wss://a.example",)),
        terms.GetTerms(agreement=agreement),
        terms.PutTerms(agreement=agreement, signed=b"s"),
        terms.GiveNotice(agreement=agreement, signed=b"s"),
        terms.GiveWaiver(agreement=agreement, signed=b"s"),
        succeeding.Succeed(succession=b"s", proposals=(b"p",)),
        succeeding.Follow(proposals=(b"p",)),
        receipts.ProposeReceipt(agreement=agreement, signed=b"s"),
        receipts.GetMyReceipts(agreement=agreement),
        receipts.AskReceipts(nonce=bytes(32)),
        receipts.AskOpinion(),
    ]
    yield from (b"\3" + encode(message) for message in asked)
    answered = [
        wire.Refused(message="no", hint="why"),
        wire.Range(size=10, pack_bytes=10, path=(bytes(32),)),
        wire.PackList(packs=(wire.PackRow(stored, 9),), more=True),
        wire.Usage(size_bytes=1, used_bytes=1, packs=1, free_bytes=1),
        wire.HeadIs(head=b"h", grant=b"g"),
        wire.Agreed(signed=b"s"),
        wire.Deleted(packs=1, lock_s=60),
        wire.Revived(packs=(stored,)),
        wire.DeletedList(packs=(wire.DeletedRow(stored, 9, 60),), more=True),
        auditing.Acked(signed=b"s", packs=(stored,)),
        auditing.Audited(signed=b"s", shown=(auditing.ShownRow(9, (bytes(32),)),)),
        terms.TermsAre(revisions=(b"s",), notices=(b"n",), left_s=9),
        terms.TermsPut(revision=2),
        terms.NoticeTaken(left_s=9),
        terms.WaiverTaken(packs=9, size_bytes=9),
        succeeding.Succeeded(succession=b"s", revisions=(b"r",)),
        succeeding.Followed(revisions=(b"r",)),
        auditing.Losses(reports=(auditing.LossRow(1, b"s", (stored,)),)),
        recovering.SlotKept(),
        receipts.ReceiptSigned(signed=b"s"),
        receipts.ReceiptsAre(salt=bytes(32), rows=bytes(32)),
        receipts.ReceiptsShown(statements=(b"s",), proofs=(9,)),
        receipts.OpinionIs(permille=1, level="new"),
    ]
    yield from (b"\4" + encode(message) for message in answered)
    proof = wire.Proof(
        versions=(1, 1), features=0, dialler=OTHER.public, acceptor=KEY.public, nonce=bytes(32), signature=bytes(64)
    )
    yield b"\0" + encode(proof)
    yield b"\1" + encode(wire.Challenge(nonce=bytes(32)))
    yield (
        b"\1"
        + encode(wire.Challenge(nonce=bytes(32)))
        + encode(wire.Welcome(versions=(1, 1), version=1, features=0, signature=bytes(64)))
    )


def _signaling():
    every = [
        said.Publish(b"listing"),
        said.Publish(b"listing", bytes(68)),
        said.Browse(b"", 5),
        said.Deposit(bytes(32), bytes(4096)),
        said.Deposit(bytes(32), bytes(4096), bytes(64)),
        said.WorkWanted(13, bytes(32)),
        said.OpenInbox(bytes(32)),
        said.ProveInbox(bytes(64)),
        said.Taken(4),
        said.Published(accepted=False, code="stale"),
        said.Published(accepted=False, code="stamp", bits=16),
        said.Page([b"row", b"row"], b"cursor", 2),
        said.Deposited(),
        said.Challenge(bytes(32)),
        said.InboxOpen(),
        said.Message(1, bytes(4096)),
        said.LeaveNote(bytes(32), 7, bytes(7168), bytes(64)),
        said.OpenNote(bytes(32)),
        said.ProveNote(bytes(64)),
        said.Noted(),
        said.NoteIs(bytes(7168)),
    ]
    yield from map(said.encode, every)


def _listings():
    slot = listing.Listing(
        peer=KEY.public,
        seq=NOW_MS,
        issued_ms=NOW_MS,
        expires_ms=NOW_MS + 1000,
        kind=listing.ListingKind.SLOT,
        storage_bytes=1 << 30,
        free_bytes=1 << 29,
        region="EU",
        availability=950,
        term_s=86400,
        lock_s=3600,
        inbox=bytes(32),
        envelope_key=ENVELOPE.public,
        envelope_id=listing.envelope_id(ENVELOPE.public),
        servers=["ws://127.0.0.1:1"],
    )
    yield msgspec.msgpack.encode(slot)
    yield listing.sign_listing(slot, KEY)
    yield msgspec.msgpack.encode(listing.make_tombstone(PeerId(KEY.public), NOW_MS, now_ms=NOW_MS))


def _knocks():
    asked = msgspec.structs.replace(ASKED, recipient=OTHER.public, owner=KEY.public)
    yield b"\0" + msgspec.msgpack.encode(asked)
    yield b"\0" + msgspec.msgpack.encode(msgspec.structs.replace(asked, servers=["wss://a.example"], ext={"x": b"y"}))
    for verdict in knock.Verdict:
        reply = knock.KnockReply(
            host=ASKED.recipient, owner=ASKED.owner, nonce=ASKED.nonce, verdict=verdict, code="c", issued_ms=NOW_MS
        )
        yield b"\1" + msgspec.msgpack.encode(reply)


def _notes():
    agreement = Agreement(
        agreement=AgreementId(b"a" * 16),
        revision=1,
        previous=bytes(32),
        owner=OTHER.public,
        host=KEY.public,
        authority=OTHER.public,
        repository=RepositoryId(b"r" * 16),
        size_bytes=1 << 30,
        start_ms=NOW_MS,
        term_s=86400,
        lock_s=3600,
        availability=0,
        notice_s=60,
    )
    where = TransportBinding(peer=KEY.public, transport=bytes(32), addresses=["192.0.2.7:4433"], time_ms=NOW_MS)
    grant = WriterGrant(repository=agreement.repository, epoch=1, device=OTHER.public, time_ms=NOW_MS)
    head = Head(
        repository=agreement.repository,
        epoch=1,
        device=OTHER.public,
        number=1,
        previous=bytes(32),
        index=BlobId(bytes(32)),
        snapshots_root=bytes(32),
        packs_root=bytes(32),
        time_ms=NOW_MS,
    )
    signed_head = sign_statement(head, OTHER)
    receipt = HeadReceipt(
        agreement=agreement.agreement, head_hash=statement_hash(signed_head), number=1, time_ms=NOW_MS
    )
    empty = note.Note(
        host=KEY.public,
        agreement=sign_statement(agreement, OTHER, KEY),
        binding=sign_statement(where, KEY),
        servers=["wss://a.example"],
        time_ms=NOW_MS,
    )
    held = msgspec.structs.replace(
        empty, head=signed_head, grant=sign_statement(grant, OTHER), receipt=sign_statement(receipt, KEY)
    )
    yield from map(msgspec.msgpack.encode, (empty, held))


def _workers():
    whole = WholeFile(b"a/b", 0o644, 0, 0, 1, "u", "g", {b"user.x": b"1"}, is_sparse=False)
    place = Entry(BlobId(bytes(32)), BlobKind.DATA, Codec.RAW, 0, 64, 17, 1)
    order = Order(bytes(64), [WantedBlob(place, 0, 0, [whole], [Part(0, 0, is_sparse=True)])], [0])
    report = Report(files=1, bytes=2, failures=[Failed(0, 0, None, "bad"), Failed(0, 1, 28, "full")])
    reading = Reading(
        [FileRead(None, bytes(32), 5, ""), FileRead(None, b"", 0, "is gone")],
        [bytes(32)],
        [5],
        [0],
        [Packed(Codec.RAW, 5)],
    )
    told = [
        Task(order, [(0, 17)], is_lent=False),
        report,
        ReadStart(bytes(64), 3),
        ReadTask([FileToRead(0, b"a", 5)], is_eager=True),
        PackTask([0]),
        reading,
        [Packed(Codec.ZSTD, 5)],
    ]
    for body in map(msgspec.msgpack.encode, told):
        yield len(body).to_bytes(4, "big") + body
    yield b"\1\0\0\0\5hello"


def _ignores():
    yield b"\0" + b"*.o\n!keep.o\n/build/\na/**/b\n# note\n\\#x\n[a-z]?\n**/t\nd/**\n\0build/x.o"
    yield b"\1" + b"*.JPG\n!\xff\xfe*\n[!a]b\\ \n\0\xff\xfe.jpg"
    yield b"\6" + b"a/b\n/c\n!d\n\0x/a/b"


def _hints():
    ext = encode_extension(attributes={b"user.a": b"1"})
    entries = [
        entry(b"a", content=bytes(64), size=70_000, ext=ext),
        entry(b"b", EntryKind.DIRECTORY, content=bytes(32)),
    ]
    yield take_look(bytes(32), entries, b"walk")
    yield take_look(bytes(32), [], b"")
    yield msgspec.msgpack.encode(entries)
    yield msgspec.msgpack.encode([entry(b"\xff\xfe", EntryKind.SYMLINK, target=b"../x")])


def _removals():
    for mark, kind in enumerate((PackDelete, PackRevive, PackWithdraw)):
        for count in (1, 3):
            packs = [StoredId(bytes([number]) * 32) for number in range(count)]
            signed = sign_removal(
                kind, packs, KEY, agreement=AgreementId(b"a" * 16), head=(b"h" * 32, 7), time_ms=NOW_MS
            )
            yield bytes([mark, count]) + signed[4 : 4 + int.from_bytes(signed[:4], "big")]


def _texts():
    yield format_peer_id(PeerId(KEY.public)).encode()
    yield encode_words(bytes(range(32))).encode()
    yield b"bp1short"
    yield b"7-aban-abil"


def _cards():
    slot = Host(KEY, ENVELOPE, OTHER).listing(NOW_MS, now_ms=NOW_MS, ext=card.write_gift(5 * 10**9))
    yield msgspec.msgpack.encode(slot)
    yield msgspec.msgpack.encode(listing.make_tombstone(PeerId(KEY.public), 1, now_ms=NOW_MS))


def _invites():
    given = invite.Invite(PeerId(KEY.public), b"s" * 16, NOW_MS // 1000, ("ws://127.0.0.1:4711", "wss://one.example"))
    text = invite.format_invite(given)
    yield b"\0" + text.encode()
    yield b"\0" + "-".join(text.upper()).encode()
    yield b"\1" + (parse_bech32m("bpi", text) or b"")
    yield b"\1\1" + bytes(52)
    yield b"\1\2" + bytes(52)


def _spoken():
    until_ms = NOW_MS + 600_000
    plate = nameplate.Plate(message=b"A" * 33, inbox=OTHER.public, key=ENVELOPE.public, expires_ms=until_ms)
    said = b"B" + bytes.fromhex("58" + "66" * 31)
    word = nameplate.Word(message=said, confirmation=b"c" * 112, inbox=OTHER.public, key=ENVELOPE.public)
    for which, message in enumerate((plate, word, nameplate.Reply(confirmation=b"r" * 300))):
        yield bytes([which]) + msgspec.msgpack.encode(message)


SEEDS = {
    "blob": _blobs,
    "card": _cards,
    "charge": _charges,
    "hint": _hints,
    "ignore": _ignores,
    "inventory": _inventories,
    "invite": _invites,
    "knock": _knocks,
    "listing": _listings,
    "note": _notes,
    "pack": _packs,
    "removal": _removals,
    "signaling": _signaling,
    "snapshot": _snapshots,
    "spoken": _spoken,
    "statement": _statements,
    "tail": _tails,
    "text": _texts,
    "tree": _trees,
    "wire": _wires,
    "worker": _workers,
}


def write_seeds(folder: Path) -> None:
    assert SEEDS.keys() == TARGETS.keys()
    for name, make in SEEDS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for data in make():
            (folder / name / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
