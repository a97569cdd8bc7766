"""What an owner and a host say to each other in the recorded conversation: all keys, times and nonces are fixed.

Two sessions: in the first they agree and a backup is left, in the second it is listed, restored and audited. The host
is a real one with a real store; what the owner says and checks is below, by the program's own functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.hosted import serving_of
from agent.houses import FixedReach, HostHouse, offer
from agent.loops import START_MS, SetClock
from agent.parties import Party
from backuppeer.agent.audits.challenging import put_challenge
from backuppeer.agent.owner.fetch import check_range, read_range
from backuppeer.agent.owner.testimony import ask_ack
from backuppeer.agent.peers.channel import read_frame
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.session import Session
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import AgreementId, BlobId, DeviceId, LogicalId, PeerId, RepositoryId, TransportId
from backuppeer.limits import MIB
from backuppeer.proof.audits import sign_challenge
from backuppeer.proof.custody import HeadHeld, Standing, hash_signed, open_bound
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.statements import (
    ZERO_HASH,
    Agreement,
    Head,
    HeadReceipt,
    TransportBinding,
    WriterGrant,
    open_statement,
    sign_statement,
    statement_hash,
)
from backuppeer.shares.ledger import Copy
from backuppeer.shares.sampling import Draw
from backuppeer.signaling.knock import Knock
from backuppeer.transport.memory import Network
from backuppeer.wire.auditing import GetLosses, Losses
from backuppeer.wire.codec import FrameReader, decode
from backuppeer.wire.handshake import Handshake
from backuppeer.wire.messages import (
    Agreed,
    GetHead,
    GetUsage,
    HeadIs,
    HeadStored,
    Hello,
    ListPacks,
    PackList,
    Proceed,
    ProposeAgreement,
    PutHead,
    PutPack,
    Stored,
    Unsupported,
    Usage,
)
from backuppeer.wire.terms import GetTerms, TermsAre

OWNER, HOST = SigningKey.from_seed(b"o" * 32), SigningKey.from_seed(b"h" * 32)
AUTHORITY, DEVICE = SigningKey.from_seed(b"a" * 32), SigningKey.from_seed(b"d" * 32)
AGREEMENT: Final = AgreementId(b"g" * 16)
REPOSITORY: Final = RepositoryId(b"r" * 16)
NONCE: Final = b"n" * 16
TERM_S, LOCK_S, SIZE_BYTES = 86_400, 3_600, 4 * MIB
PACKS: Final = (
    Path(__file__).parent.parent.joinpath("vectors/pack-aes.bin").read_bytes(),
    b"".join(number.to_bytes(4, "big") for number in range(10_000)),
)
"""A pack as the format has it, and bytes that end within a leaf: a host knows no difference."""
STORED: Final = tuple(map(compute_stored_id, PACKS))
ASK_UNKNOWN: Final = bytes.fromhex("00000002fa80")
"""A question of a later version: type 250, no fields."""


def fix_nonces(setitem: Callable[[dict[str, object], str, object], None]) -> None:
    """Let every handshake have the same two nonces: without that no recorded signature would hold."""
    for which, nonce in ((Handshake.dial, b"1"), (Handshake.accept, b"2")):
        setitem(which.__func__.__kwdefaults__, "randomness", lambda size, nonce=nonce: nonce * size)


def open_house(folder: Path) -> HostHouse:
    """Return the host, at whom the owner has knocked."""
    house = HostHouse(folder, b"", identity=HOST, authority=AUTHORITY.public)
    knock = Knock(
        recipient=house.peer,
        listing_seq=1,
        envelope_id=bytes(8),
        owner=OWNER.public,
        size_bytes=SIZE_BYTES,
        term_s=TERM_S,
        lock_s=LOCK_S,
        transport=b"t" * 32,
        addresses=["10.0.0.1:4433"],
        servers=[],
        reply_inbox=bytes(32),
        reply_key=bytes(1216),
        nonce=b"k" * 16,
        issued_ms=START_MS,
        expires_ms=START_MS + 1000,
    )
    house.requests.consider_knock(knock, offer("all", term_s=TERM_S, lock_s=LOCK_S))
    return house


def owner_party(network: Network) -> Party:
    """Return the owner: always the first on its network."""
    party = Party(network, 1, identity=OWNER, clock=SystemClock())
    binding = TransportBinding(
        peer=PeerId(OWNER.public),
        transport=TransportId(party.transport.transport_id),
        addresses=party.transport.addresses(),
        time_ms=START_MS,
    )
    hello = Hello(program="backup-peer 0.1", binding=sign_statement(binding, OWNER), authority=AUTHORITY.public)
    party.make_hello = lambda _: hello
    return party


def host_party(network: Network, house: HostHouse) -> Party:
    """Return the host: always the second on its network."""
    party = Party(network, 2, identity=HOST, clock=SystemClock(), serve=serving_of(house).serve)
    party.make_hello = lambda owner: house.heirship.make_hello(owner, house.peer)
    return party


def sign_agreement() -> bytes:
    proposal = Agreement(
        agreement=AGREEMENT,
        revision=1,
        previous=ZERO_HASH,
        owner=PeerId(OWNER.public),
        host=PeerId(HOST.public),
        authority=AUTHORITY.public,
        repository=REPOSITORY,
        size_bytes=SIZE_BYTES,
        start_ms=START_MS,
        term_s=TERM_S,
        lock_s=LOCK_S,
        availability=0,
        notice_s=10,
    )
    return sign_statement(proposal, OWNER)


def sign_head() -> tuple[bytes, bytes]:
    """Return the head that names the backup, and the grant of its writer."""
    device = DeviceId(DEVICE.public)
    grant = WriterGrant(repository=REPOSITORY, epoch=1, device=device, time_ms=START_MS)
    head = Head(
        repository=REPOSITORY,
        epoch=1,
        device=device,
        number=1,
        previous=ZERO_HASH,
        index=BlobId(b"i" * 32),
        snapshots_root=b"s" * 32,
        packs_root=b"p" * 32,
        time_ms=START_MS,
    )
    return sign_statement(head, DEVICE), sign_statement(grant, AUTHORITY)


@dataclass
class Talk:
    """The owner's side of the conversation. Its checks fail where a host answers otherwise than it was recorded."""

    terms: bytes = b""
    receipt: bytes = b""

    async def leave_backup(self, session: Session) -> None:
        """Agree, leave packs and a head: the first session."""
        self.terms = (await self._ask(session, ProposeAgreement(signed=sign_agreement()), Agreed)).signed
        open_statement(Agreement, self.terms, OWNER.public, HOST.public)
        assert [await self._put(session, data) for data in (*PACKS, PACKS[0])] == ["sent", "sent", "known"]
        head, grant = sign_head()
        self.receipt = (
            await self._ask(session, PutHead(agreement=AGREEMENT, head=head, grant=grant), HeadStored)
        ).receipt
        said = open_statement(HeadReceipt, self.receipt, HOST.public)
        assert (said.agreement, said.head_hash) == (AGREEMENT, statement_hash(head))
        usage = await self._ask(session, GetUsage(agreement=AGREEMENT), Usage)
        assert (usage.packs, usage.used_bytes) == (2, sum(map(len, PACKS)))

    async def restore_and_audit(self, session: Session) -> None:
        """Find in the second session what the first one left."""
        partner = Partner(AGREEMENT, PeerId(HOST.public), "host", FixedReach(session))
        assert session.hello.agreements == (self.terms,)
        assert [bytes(state.head) for state in session.hello.heads] == [sign_head()[0]]
        listed = await self._ask(session, ListPacks(agreement=AGREEMENT), PackList)
        assert {row.stored for row in listed.packs} == set(STORED)
        for stored, data in zip(STORED, PACKS, strict=True):
            got, path = await read_range(partner, stored, 0, memoryview(bytearray(len(data))))
            check_range(stored, len(data), 0, got, path)
            assert got == data
        await self._audit(session, partner)
        assert await self._ask(session, GetLosses(agreement=AGREEMENT), Losses) == Losses()
        await _ask_unknown(session)
        assert (await self._ask(session, GetTerms(agreement=AGREEMENT), TermsAre)).revisions == (self.terms,)

    async def _audit(self, session: Session, partner: Partner) -> None:
        held = await self._ask(session, GetHead(agreement=AGREEMENT, receipt=self.receipt, nonce=NONCE), HeadIs)
        word = open_bound(HeadHeld, held.held, HOST.public, agreement=AGREEMENT)
        assert (word.nonce, word.receipt, held.head) == (NONCE, hash_signed(self.receipt), sign_head()[0])
        acked = await ask_ack(partner, STORED, SetClock())
        assert acked is not None
        assert set(acked[2]) == set(STORED)
        copies = [
            Copy(LogicalId(bytes(16)), AGREEMENT, stored, len(data), b"")
            for stored, data in zip(STORED, PACKS, strict=True)
        ]
        draws = [Draw(copies[0], 3, 2), Draw(copies[1], 2)]
        standing = Standing(AGREEMENT, word.terms, word.head_hash, word.number)
        challenge = sign_challenge(
            [draw.sample for draw in draws], OWNER, standing=standing, nonce=NONCE, time_ms=START_MS
        )
        answer = await put_challenge(partner, challenge, draws, owner=OWNER.public)
        assert [piece.is_wrong for piece in answer.pieces] == [False, False]
        assert all(piece.shown for piece in answer.pieces)

    async def _ask(self, session: Session, message, kind):
        async with session.request(message) as channel:
            return await channel.receive(kind)

    async def _put(self, session: Session, data: bytes) -> str:
        stored = compute_stored_id(data)
        async with session.request(PutPack(agreement=AGREEMENT, stored=stored, size=len(data))) as channel:
            if isinstance(await channel.receive(Proceed, Stored), Stored):
                return "known"
            await channel.send_raw(data)
            await channel.receive(Stored)
            return "sent"


async def _ask_unknown(session: Session) -> None:
    """Ask as a later version would; "unsupported" is the answer, and what follows goes on as before."""
    stream = await session.connection.open_stream()
    await stream.write(ASK_UNKNOWN)
    reader = FrameReader()
    answer = decode(await read_frame(stream, reader))
    assert answer == Unsupported(type=250)
    await stream.finish()
