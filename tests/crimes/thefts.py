"""What an owner can do wrong to its host, each by a name: requests that no honest owner makes, over an honest session.

The thief has all that an owner has (its keys, an agreement, a head, packs), and what it may have overheard of another
owner of the same host: ids of its agreement and packs, its signed head, and a request that it signed.
"""

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from enum import StrEnum

import msgspec

from backuppeer.agent.peers.session import Session
from backuppeer.errors import BackupPeerError
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.limits import MIB
from backuppeer.proof.audits import Sample, sign_challenge
from backuppeer.proof.custody import Standing
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.removals import PackDelete, sign_removal
from backuppeer.proof.statements import Agreement, Head, open_statement, sign_statement, statement_hash
from backuppeer.wire.auditing import AckPacks, AskAudit
from backuppeer.wire.codec import encode
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import (
    DeletePacks,
    GetHead,
    GetRange,
    GetUsage,
    HeadIs,
    LaneWish,
    ListPacks,
    Proceed,
    ProposeAgreement,
    PutHead,
    PutPack,
    Refused,
)

LAST = 2**63 - 1
MANY = 99
"""QUIC lets a peer open a hundred streams, of which one is the session's own."""


class Theft(StrEnum):
    """Every crime; docs/crimes.md has a row for each. Those that fill the agreement come last."""

    PATHS = "paths"
    """Puts `../` where ids of agreements and packs belong."""
    SHORT_ID = "short-id"
    """Names a pack by a path of another length than an id has."""
    WRONG_BYTES = "wrong-bytes"
    """Sends other bytes than those of the id that it announced."""
    SILENT_PUTS = "silent-puts"
    """Announces packs, as many as it can open streams for, and sends no byte of them."""
    REDIALS = "redials"
    """The same over a new session each time, so that no session has more than it may have."""
    NEVER_READS = "never-reads"
    """Asks for packs on a hundred streams and reads none."""
    DELETES_OTHERS = "deletes-others"
    """Asks to delete the packs of another owner, under its own agreement and under the other's."""
    TOO_MANY = "too-many"
    """Names more packs in one request to delete than may be."""
    OLD_DELETE = "old-delete"
    """Shows a request to delete again that it signed for an earlier head."""
    REPLAYED_DELETE = "replayed-delete"
    """Shows a request to delete that another signed."""
    OLD_HEAD = "old-head"
    """Leaves an earlier head of its own."""
    FOREIGN_HEAD = "foreign-head"
    """Leaves the newest head of another owner under its own agreement."""
    OTHER_REPOSITORY = "other-repository"
    """Signs a head of another repository than was agreed on."""
    NAMES_ANOTHER = "names-another"
    """Proposes an agreement in the name of another owner."""
    TAKES_AN_ID = "takes-an-id"
    """Proposes an agreement of its own under the id of another owner's."""
    ACKS_ABSENT = "acks-absent"
    """Asks for acknowledgements of packs that are not there."""
    AUDITS = "audits"
    """Asks for audits without a pause."""
    ABSURD_SAMPLES = "absurd-samples"
    """Asks for leaves beyond all packs, and of packs that nobody has."""
    FORGED_CHALLENGE = "forged-challenge"
    """Signs a challenge with another key."""
    OVERSIZED = "oversized"
    """Asks in a frame of four gigabytes."""
    MALFORMED = "malformed"
    """Asks with bytes that are no message."""
    LEAVES_LANES = "leaves-lanes"
    """Wishes for lanes again and again, and enters none."""
    PAGES = "pages"
    """Lists its packs row by row, without end."""
    RACES = "races"
    """Stores more packs at the same time than the agreement has room for."""
    CRUMBS = "crumbs"
    """Stores packs of 16 bytes without end."""


class Overheard(msgspec.Struct):
    """What the thief knows of another owner; written by the test."""

    agreement: bytes
    peer: bytes
    packs: list[bytes]
    head: bytes
    grant: bytes
    request: bytes
    """A request to delete `packs` that the other signed for the head that the thief's host holds of it."""


class Loot(msgspec.Struct):
    """What came of a crime: how often which answer, and the code by which the host closed the session, if it did."""

    answers: dict[str, int]
    closed: int | None


class Thief:
    """One owner's session, in the wrong hands."""

    def __init__(
        self, dial: Callable[[], Awaitable[Session]], agreement: AgreementId, keys, heads, other: Overheard
    ) -> None:
        self._dial, self._agreement, self._keys, self._heads, self._other = dial, agreement, keys, heads, other
        self.answers: Counter[str] = Counter()
        self.session: Session
        self._kept: list[object] = []

    async def commit(self, theft: Theft) -> Loot:
        """Commit a crime, and wait for what becomes of it."""
        self.session = await self._dial()
        act = getattr(self, f"_do_{theft.replace('-', '_')}")
        try:
            await act()
        except BackupPeerError as exc:
            self.answers[type(exc).__name__] += 1
        if self.answers.keys() & {"PeerUnreachable", "ProtocolViolation"}:
            async with asyncio.timeout(20):
                await self.session.connection.wait_closed()
        info = self.session.connection.close_info
        closed = info.code if info is not None and info.by_peer else None
        return Loot(dict(self.answers), closed)

    async def _ask(self, message: Message) -> Message:
        """Ask, note the answer, and return it."""
        async with self.session.request(message) as channel:
            answer = await channel.receive_any()
        self._note(answer)
        return answer

    def _note(self, answer: Message) -> None:
        name = type(answer).__name__
        self.answers[f"{name} {answer.code}: {answer.message}" if isinstance(answer, Refused) else name] += 1

    async def _put(self, data: bytes, stored: bytes | None = None, agreement: bytes | None = None) -> None:
        put = PutPack(
            agreement=AgreementId(agreement or self._agreement),
            stored=StoredId(stored or compute_stored_id(data)),
            size=len(data),
        )
        async with self.session.request(put) as channel:
            answer = await channel.receive_any()
            if isinstance(answer, Proceed):
                await channel.send_raw(data)
                answer = await channel.receive_any()
        self._note(answer)

    async def _together(self, works: Iterable[Awaitable[object]]) -> None:
        for result in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(result, BackupPeerError):
                self.answers[type(result).__name__] += 1
            elif isinstance(result, BaseException):
                raise result

    async def _standing(self) -> Standing:
        held = await self._ask(GetHead(agreement=self._agreement))
        assert isinstance(held, HeadIs)
        number = self._heads[-1][0]
        assert statement_hash(held.head) == statement_hash(self._heads[-1][1])
        return Standing(self._agreement, statement_hash(self._keys.terms), statement_hash(held.head), number)

    async def _do_races(self) -> None:
        await self._together(self._put(os.urandom(8 * MIB)) for _ in range(12))

    async def _do_crumbs(self) -> None:
        while not any(name.startswith("Refused") for name in self.answers):
            await self._together(self._put(secrets.token_bytes(16)) for _ in range(8))

    async def _do_paths(self) -> None:
        await self._ask(GetUsage(agreement=AgreementId(b"../../../../etc/")))
        await self._put(b"x", stored=b"../" * 10 + b"id", agreement=b"../" * 5 + b"x")
        await self._put(b"x", stored=b"../" * 10 + b"id")
        await self._ask(
            GetRange(
                agreement=self._agreement, stored=StoredId(b"/etc/passwd".ljust(32, b"\0")), first_leaf=0, leaves=1
            )
        )

    async def _do_short_id(self) -> None:
        await self._put(b"x", stored=b"../../../../../../tmp/thief")

    async def _do_wrong_bytes(self) -> None:
        await self._together(self._put(os.urandom(MIB), stored=secrets.token_bytes(32)) for _ in range(4))

    async def _do_silent_puts(self) -> None:
        await self._hold(self.session, MANY)

    async def _do_redials(self) -> None:
        for _ in range(12):
            await self._redial()

    async def go_on(self, theft: Theft) -> None:
        """Commit a crime again and again, where once would soon be over."""
        while theft is Theft.REDIALS:
            await self._redial()

    async def _redial(self) -> None:
        self.session = await self._dial()
        await self._hold(self.session, 8)

    async def _hold(self, session: Session, streams: int) -> None:
        """Announce packs on so many streams, or as many as there may be, and keep them until this process ends."""
        for _ in range(streams):
            await self._open(session, PutPack(agreement=self._agreement, stored=StoredId(os.urandom(32)), size=MIB))

    async def _open(self, session: Session, message: Message) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(1 if self.answers["held"] else 20):
                stream = await session.connection.open_stream()
                await stream.write(encode(message))
                self._kept.append(stream)
                self.answers["held"] += 1

    async def _do_never_reads(self) -> None:
        listed = await self._ask(ListPacks(agreement=self._agreement))
        largest = max(listed.packs, key=lambda row: row.size)
        for _ in range(MANY):
            await self._open(
                self.session, GetRange(agreement=self._agreement, stored=largest.stored, first_leaf=0, leaves=1024)
            )

    async def _do_deletes_others(self) -> None:
        packs = [StoredId(pack) for pack in self._other.packs]
        standing = await self._standing()
        for agreement in (self._agreement, AgreementId(self._other.agreement)):
            signed = self._sign_delete(packs, agreement, (standing.head_hash, standing.number))
            await self._ask(DeletePacks(agreement=agreement, signed=signed, packs=tuple(packs)))

    def _sign_delete(self, packs: list[StoredId], agreement: AgreementId, head: tuple[bytes, int]) -> bytes:
        return sign_removal(PackDelete, packs, self._keys.identity, agreement=agreement, head=head, time_ms=1)

    async def _do_too_many(self) -> None:
        packs = [StoredId(os.urandom(32)) for _ in range(1025)]
        await self._ask(DeletePacks(agreement=self._agreement, signed=b"s", packs=tuple(packs)))

    async def _do_old_delete(self) -> None:
        listed = await self._ask(ListPacks(agreement=self._agreement))
        packs = [row.stored for row in listed.packs]
        number, signed, _ = self._heads[0]
        old = self._sign_delete(packs, self._agreement, (statement_hash(signed), number))
        await self._ask(DeletePacks(agreement=self._agreement, signed=old, packs=tuple(packs)))

    async def _do_replayed_delete(self) -> None:
        packs = tuple(StoredId(pack) for pack in self._other.packs)
        await self._ask(
            DeletePacks(agreement=AgreementId(self._other.agreement), signed=self._other.request, packs=packs)
        )
        await self._ask(DeletePacks(agreement=self._agreement, signed=self._other.request, packs=packs))

    async def _do_old_head(self) -> None:
        _, signed, grant = self._heads[0]
        await self._ask(PutHead(agreement=self._agreement, head=signed, grant=grant))

    async def _do_foreign_head(self) -> None:
        await self._ask(PutHead(agreement=self._agreement, head=self._other.head, grant=self._other.grant))

    async def _do_other_repository(self) -> None:
        number, signed, grant = self._heads[-1]
        newest = open_statement(Head, signed, self._keys.device.public)
        moved = msgspec.structs.replace(
            newest, repository=os.urandom(16), number=number + 1, previous=statement_hash(signed)
        )
        head = sign_statement(moved, self._keys.device)
        await self._ask(PutHead(agreement=self._agreement, head=head, grant=grant))

    def _propose(self, **fields: object) -> bytes:
        terms = msgspec.structs.replace(self._keys.agreed, **fields)
        blob = msgspec.msgpack.encode(terms)
        return len(blob).to_bytes(4, "big") + blob + self._keys.identity.sign(Agreement.purpose, blob)

    async def _do_names_another(self) -> None:
        await self._ask(
            ProposeAgreement(signed=self._propose(owner=PeerId(self._other.peer), agreement=os.urandom(16)))
        )

    async def _do_takes_an_id(self) -> None:
        await self._ask(ProposeAgreement(signed=self._propose(agreement=self._other.agreement)))

    async def _do_acks_absent(self) -> None:
        for _ in range(20):
            packs = tuple(StoredId(os.urandom(32)) for _ in range(1024))
            answer = await self._ask(AckPacks(agreement=self._agreement, packs=packs))
            assert (answer.signed, answer.packs) == (b"", ()), "it signed for what it does not have"

    async def _do_audits(self) -> None:
        listed = await self._ask(ListPacks(agreement=self._agreement))
        standing = await self._standing()
        sample = Sample(max(listed.packs, key=lambda row: row.size).stored, 0, 16)
        while not any(name.startswith("Refused") for name in self.answers):
            await self._challenge([sample] * 30, standing, self._keys.identity)

    async def _challenge(self, samples: list[Sample], standing: Standing, key) -> None:
        nonce = secrets.token_bytes(16)
        signed = sign_challenge(samples, key, standing=standing, nonce=nonce, time_ms=1)
        async with self.session.request(AskAudit(agreement=self._agreement, signed=signed)) as channel:
            answer = await channel.receive_any()
            if not isinstance(answer, Refused):
                for row in answer.shown:
                    async for _ in channel.receive_raw(min(row.length, 16 * 16384)):
                        pass
        self._note(answer)

    async def _do_absurd_samples(self) -> None:
        listed = await self._ask(ListPacks(agreement=self._agreement))
        standing = await self._standing()
        stored = listed.packs[0].stored
        samples = [Sample(stored, LAST, 1), Sample(StoredId(os.urandom(32)), 0, 64), Sample(stored, 1023, 64)]
        await self._challenge(samples, standing, self._keys.identity)

    async def _do_forged_challenge(self) -> None:
        standing = await self._standing()
        await self._challenge([Sample(StoredId(os.urandom(32)), 0, 1)], standing, self._keys.device)

    async def _raw(self, data: bytes) -> None:
        stream = await self.session.connection.open_stream()
        await stream.write(data)
        await stream.read(1)

    async def _do_oversized(self) -> None:
        await self._raw(b"\xff\xff\xff\xff\x14" + bytes(MIB))

    async def _do_malformed(self) -> None:
        await self._raw(b"\0\0\0\x05\x14\xc1\xc1\xc1\xc1")

    async def _do_leaves_lanes(self) -> None:
        for _ in range(MANY):
            await self.session.say(LaneWish(certificate=b"none"))
        await self._ask(GetUsage(agreement=self._agreement))

    async def _do_pages(self) -> None:
        after = b""
        for _ in range(500):
            listed = await self._ask(ListPacks(agreement=self._agreement, after=after, limit=1))
            after = listed.packs[0].stored if listed.packs else b""
