r"""A home in one file, under a passphrase: who it is, whom it knows, what it agreed on, its settings (ADR 47).

Knows: what goes into the file and comes out of it. Must not know: who asks for the passphrase, hosts, what is hosted
for others: that lies in the store.

    file = magic `BPHOME\r\n` 8 ‖ version u8 ‖ sealed (crypto.custody), of a msgpack map

A file made with --move has the device key and the grant, and so the right to write; of two homes with one device each
would undo the other's backups, so the home it came from loses it. Without, the new home reads, as a recovered one does.
"""

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backuppeer.agent.home.aside import set_aside
from backuppeer.agent.home.config import parse_config, read_settings
from backuppeer.agent.home.heir import FormerSelf, is_begun, write_former
from backuppeer.agent.home.home import Home, write_private
from backuppeer.agent.home.keyring import HomeKeys, write_keys
from backuppeer.agent.home.records import PeerRecord
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import Heir
from backuppeer.crypto.custody import USUAL, Stretch, open_sealed, seal_by_passphrase
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import FormerSecrets, WorkingSecret, derive_identity
from backuppeer.errors import (
    DamagedStateError,
    LocalError,
    NewerFormatError,
    NotFoundError,
    PeerFault,
    ProtocolViolation,
    UserError,
)
from backuppeer.ids import AgreementId, PeerId, RepositoryId
from backuppeer.limits import EXPORT_BYTES, SUCCESSION_STEPS
from backuppeer.proof.statements import Agreement, open_statement, peek_statement
from backuppeer.proof.succession import Succession, open_succession

MOVED_IN: Final = "moved_in"
"""The setting of a home that was made of a file and has not heard yet what its hosts keep; empty afterwards."""
EXPORT_THERE: Final = "`backup-peer export FILE` on the other machine makes one"
_FORGOTTEN: Final = (
    "forgotten? `backup-peer export FILE` on the other machine makes another file, with a new passphrase; "
    "`backup-peer recover` needs the 24 words alone; or the file was changed"
)
_MAGIC: Final = b"BPHOME\r\n"
_VERSION: Final = 1
_HEIR_VERSION: Final = 2
"""Of a home whose identity went on (ADR 69): programs of before must not read half of its keys."""
_LINES_VERSION: Final = 3
"""Of a home that follows others who went on: a program of before would know them by an id that is out of use."""
_BEFORE: Final = ".before"
_Id = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Seed = Annotated[bytes, Meta(max_length=32)]


class KnownPeer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A peer, as `records.PeerRecord`."""

    peer: _Id
    alias: str
    is_verified: bool
    whereabouts: bytes
    first_seen_ms: int
    last_seen_ms: int


class KnownAgreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The newest revision of an agreement with a host; signed by both."""

    host: _Id
    signed: bytes


class KnownLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A succession of another that this home follows, as `successions.Heir`."""

    old: _Id
    new: _Id
    authority: _Id
    generation: int
    signed: bytes
    since_ms: int
    rival: bytes
    rival_signed: bytes
    contested_ms: int
    settled_ms: int

    def open(self) -> Heir:
        """Return it, having checked that it is what its authority signed.

        Raises:
            PeerFault: it is not.

        """
        said = open_succession(self.signed, self.authority)
        rivals = [open_succession(signed, self.authority).new for signed in (self.rival_signed,) if signed]
        if (said.old, said.new, said.generation) != (self.old, self.new, self.generation):
            raise ProtocolViolation("a succession is of other identities")
        if rivals != [self.rival] * bool(self.rival):
            raise ProtocolViolation("a succession is contradicted by another one than it says")
        return Heir(PeerId(self.old), PeerId(self.new), *msgspec.structs.astuple(self)[2:])


class Belongings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """All that a file holds. device, grant: empty in a copy that may only read. config: the text of `config.toml`.

    former: the secrets of `repository` in the generations before, in their order; none in the first. selves: the seed
    of each identity of before that a host may still know this home by, and the signed succession from it. lines: in the
    order in which they were followed.
    """

    generation: int
    working: _Id
    authority: _Id
    device: _Seed
    grant: bytes
    peers: list[KnownPeer]
    agreements: list[KnownAgreement]
    config: str
    repository: Annotated[bytes, Meta(max_length=16)] = b""
    former: Annotated[list[_Id], Meta(max_length=SUCCESSION_STEPS)] = []
    selves: Annotated[list[tuple[_Id, bytes]], Meta(max_length=SUCCESSION_STEPS)] = []
    lines: list[KnownLine] = []

    @property
    def secret(self) -> WorkingSecret:
        """The working secret, with what is kept of generations before.

        Raises:
            LocalError: they do not fit.

        """
        kept = FormerSecrets(RepositoryId(self.repository), tuple(self.former)) if self.former else None
        return WorkingSecret(self.working, self.generation, kept)

    def read_selves(self) -> list[FormerSelf]:
        """Return who this home was, for hosts that have not heard; the oldest first.

        Raises:
            PeerFault: a succession is from somebody else.

        """
        found = [FormerSelf(SigningKey.from_seed(seed), signed) for seed, signed in self.selves]
        if any(peek_statement(Succession, one.succession).old != one.peer for one in found):
            raise ProtocolViolation("a succession is from another identity")
        return found

    def find_names(self) -> frozenset[PeerId]:
        """Return every peer id that agreements may name as this home's."""
        return frozenset((_peer_of(self.secret), *(one.peer for one in self.read_selves())))

    @property
    def may_write(self) -> bool:
        """Whether the right to write is in it."""
        return bool(self.grant)

    def __repr__(self) -> str:
        """Return what is no secret."""
        return f"Belongings({len(self.agreements)} agreements)"


def collect_belongings(home: Home, keys: HomeKeys, state: State, *, with_right: bool) -> Belongings:
    """Return what a file of a home is to hold. with_right: device key and grant, too.

    Raises:
        UserError: this home has no right to write that it could give, a new identity is on its way here, or its
            settings say what nobody could import.
        DamagedStateError, LocalError: the settings can't be read.

    """
    if is_begun(home):
        raise UserError(
            "a new identity is on its way here", hint="`backup-peer recover --new-identity` goes on; export then"
        )
    if with_right and not keys.grant:
        raise UserError(
            "this home may only read: there is no right to make backups to move",
            hint="leave --move out; or `backup-peer recover --take-over` there, with the words",
        )
    former = keys.working.former
    return Belongings(
        repository=former.repository if former is not None else b"",
        former=list(former.secrets) if former is not None else [],
        selves=[(one.identity.seed(), one.succession) for one in keys.former],
        generation=keys.working.generation,
        working=keys.working.secret,
        authority=keys.authority,
        device=keys.device.seed() if with_right else b"",
        grant=keys.grant if with_right else b"",
        peers=[_known(record) for record in state.peers()],
        agreements=[KnownAgreement(host=host, signed=signed) for _, host, signed in state.agreements()],
        config=read_settings(home),
        lines=[KnownLine(*heir) for heir in state.successions.list_all()],
    )


def write_belongings(path: Path, belongings: Belongings, passphrase: bytes, *, stretch: Stretch = USUAL) -> None:
    """Write the file, durably, 0600; one that is there is left alone.

    Raises:
        UserError: something stands there.
        LocalError: the system refuses.

    """
    front = _MAGIC + bytes([_choose_version(belongings)])
    sealed = seal_by_passphrase(msgspec.msgpack.encode(belongings), passphrase, bound=front, stretch=stretch)
    if os.path.lexists(path):
        raise UserError(f"{path} exists already", hint="name another file")
    try:
        write_private(path, front + sealed)
    except OSError as exc:
        raise LocalError(f"{path} can't be written: {exc.strerror}", hint="name a file elsewhere") from exc


def read_belongings(path: Path, passphrase: bytes) -> Belongings:
    """Return what a file holds, having checked that its parts belong together.

    Raises:
        NotFoundError: there is no such file.
        UserError: the passphrase is wrong.
        DamagedStateError: it is none of ours, or damaged.
        NewerFormatError: of a later version.

    """
    data = _read(path)
    end = len(_MAGIC) + 1
    if data[: len(_MAGIC)] != _MAGIC or len(data) <= end:
        raise DamagedStateError(f"{path} is no exported home", hint=EXPORT_THERE)
    if data[len(_MAGIC)] not in range(_VERSION, _LINES_VERSION + 1):
        raise NewerFormatError(
            f"{path} was written by another version of backup-peer (format {data[len(_MAGIC)]})",
            hint="install the newer backup-peer to read it",
        )
    try:
        plain = _open(data[end:], passphrase, data[:end])
        belongings = msgspec.msgpack.decode(plain, type=Belongings)
        _check(belongings)
    except (msgspec.DecodeError, UnicodeDecodeError, PeerFault, LocalError) as exc:
        raise DamagedStateError(f"{path} does not hold what it should", hint="take another copy of it") from exc
    return belongings


def _open(sealed: bytes, passphrase: bytes, bound: bytes) -> bytes:
    try:
        return open_sealed(sealed, passphrase, bound=bound)
    except UserError as exc:
        error = UserError(exc.message, hint=_FORGOTTEN)  # that of a home's keys is about a home that is there
        error.exit_code = exc.exit_code
        raise error from exc


def settle_in(home: Home, belongings: Belongings) -> PeerId:
    """Make a home of what a file holds: the identity last, so that a crash leaves none.

    Raises:
        UserError: an identity is there already, or what is left of a home that was being deleted.
        LocalError: the system refuses.

    """
    if home.exists_identity:
        raise UserError(
            f"{home.path} already has an identity", hint="import into another folder with --home DIR; nothing changed"
        )
    home.check_whole()
    home.prepare()
    if belongings.config:
        write_private(home.config, belongings.config.encode())
    if home.state.exists():
        # What an import left that broke off, of this file or of another; or of a home whose keys are gone.
        set_aside(home.state, _BEFORE)
    working = belongings.secret
    state = State(home.state)
    try:
        for known in belongings.peers:
            _remember(state, known)
        for agreed in belongings.agreements:
            said = _open_terms(belongings, agreed)
            state.put_agreement(AgreementId(said.agreement), PeerId(agreed.host), agreed.signed)
        for line in belongings.lines:
            state.successions.put(line.open())
        state.put_setting(MOVED_IN, b"1" if belongings.agreements else b"")
    finally:
        state.close()
    if belongings.selves:
        write_former(home, working, belongings.read_selves())
    return write_keys(home, working, belongings.authority, device=belongings.device, grant=belongings.grant)


def _check(belongings: Belongings) -> None:
    """Check what a program that wrote nonsense could have got wrong: what is sealed, nobody else can change."""
    belongings.find_names()  # also without agreements: the secrets must fit each other
    for known in belongings.agreements:
        _open_terms(belongings, known)
    for line in belongings.lines:
        line.open()
    if bool(belongings.device) != bool(belongings.grant):
        raise LocalError("a right to write without its device")
    if belongings.config:
        try:
            parse_config(belongings.config)
        except UserError as exc:
            raise LocalError(exc.message) from exc


def _open_terms(belongings: Belongings, known: KnownAgreement) -> Agreement:
    """Return an agreement of the home, under whichever of its names."""
    named = PeerId(peek_statement(Agreement, known.signed).owner)
    own = named if named in belongings.find_names() else _peer_of(belongings.secret)
    return open_statement(Agreement, known.signed, own, known.host)


def _remember(state: State, known: KnownPeer) -> None:
    peer = PeerId(known.peer)
    if not known.last_seen_ms:
        state.call(peer, known.alias, known.first_seen_ms)
        return
    state.meet(peer, known.first_seen_ms, alias=known.alias, verified=known.is_verified, whereabouts=known.whereabouts)
    state.meet(peer, known.last_seen_ms)


def _known(record: PeerRecord) -> KnownPeer:
    return KnownPeer(
        peer=record.peer,
        alias=record.alias,
        is_verified=record.is_verified,
        whereabouts=record.whereabouts,
        first_seen_ms=record.first_seen_ms,
        last_seen_ms=record.last_seen_ms,
    )


def _peer_of(working: WorkingSecret) -> PeerId:
    return PeerId(derive_identity(working).public)


def _choose_version(belongings: Belongings) -> int:
    if belongings.lines:
        return _LINES_VERSION
    return _HEIR_VERSION if belongings.former else _VERSION


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(EXPORT_BYTES + 1)
    except FileNotFoundError as exc:
        raise NotFoundError(f"there is no file {path}", hint=EXPORT_THERE) from exc
    except OSError as exc:
        raise LocalError(f"{path} can't be read: {exc.strerror}", hint="is it a file, and yours to read?") from exc
    if len(data) > EXPORT_BYTES:
        raise DamagedStateError(f"{path} is no exported home: it is too long", hint="take another file")
    return data
