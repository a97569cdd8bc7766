"""The key files of a home: written by `init` and `recover`, read by the agent (DESIGN 3).

Knows: which keys a home has and how their files look. Must not know: sessions, repositories. The 24 words and the
authority's secret are never written; what lies here is the working secret of one generation (`keyfile`).

`keys/device`, `keys/transport`: 32-byte Ed25519 seeds. `keys/grant`: signed WriterGrant, absent in a recovered home
that did not take over.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from backuppeer.agent.home.heir import FormerSelf, Heir, is_begun, load_former, load_heir
from backuppeer.agent.home.home import Home, sweep_unfinished, sync_folder, write_private
from backuppeer.agent.home.keyfile import Custody, KeyFile, explain_damage, read_bounded, read_key_file
from backuppeer.agent.home.sealing import identity_of, open_working, seal_working
from backuppeer.clock import Clock
from backuppeer.crypto.custody import USUAL, Stretch
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import WorkingSecret, derive_authority, derive_heir, derive_identity, derive_working
from backuppeer.errors import DamagedStateError, ExitCode, NotFoundError, PeerFault, UserError
from backuppeer.ids import DeviceId, PeerId, RepositoryId
from backuppeer.proof.statements import Agreement, WriterGrant, open_statement, peek_statement, sign_statement
from backuppeer.proof.writer import FIRST_EPOCH

_log = structlog.get_logger()
FIRST_GENERATION: Final = 1


@dataclass(frozen=True, slots=True)
class HomeKeys:
    """The keys of one home, as loaded from its files."""

    working: WorkingSecret = field(repr=False)
    authority: bytes
    identity: SigningKey = field(repr=False)
    device: SigningKey = field(repr=False)
    transport_seed: bytes = field(repr=False)
    grant: bytes
    """Signed WriterGrant of this device; empty in a home that was recovered and may only read."""
    repository: RepositoryId | None
    """None until a recovered home has heard from a host which repository is its own, or its key file names it."""

    heir: Heir | None = None
    """Who this home is about to go on as, while hosts are told (ADR 69)."""
    former: tuple[FormerSelf, ...] = ()
    """Who it was, as long as a host may know it so alone; the oldest first."""

    @property
    def peer(self) -> PeerId:
        """Return this home's peer id."""
        return PeerId(self.identity.public)

    @property
    def names(self) -> frozenset[PeerId]:
        """Return every peer id that means this home: its own, and those by which hosts still or already know it."""
        heir = () if self.heir is None else (self.heir.peer,)
        return frozenset((self.peer, *heir, *(one.peer for one in self.former)))

    @property
    def former_identities(self) -> tuple[SigningKey, ...]:
        """Return the identities of before by which somebody may know this home, the oldest first."""
        return tuple(one.identity for one in self.former)

    def open_terms(self, signed: bytes, host: PeerId) -> Agreement:
        """Return a revision of an agreement of this home, under whichever of its names, with a host.

        Raises:
            PeerFault: it is of others, or not signed by both.

        """
        named = PeerId(peek_statement(Agreement, signed).owner)
        return open_statement(Agreement, signed, named if named in self.names else self.peer, host)


def create_identity(home: Home, master: bytes, clock: Clock) -> PeerId:
    """Write the keys of a new identity, and the grant that makes this device its writer.

    Raises:
        UserError: an identity is there already.

    """
    _refuse_existing(home)
    authority = derive_authority(master)
    device = SigningKey.generate()
    # A repository id is only a name; random, so that two repositories never share keys.
    grant = WriterGrant(
        repository=RepositoryId(secrets.token_bytes(16)),
        epoch=FIRST_EPOCH,
        device=DeviceId(device.public),
        time_ms=clock.now_ms(),
    )
    working, signed = derive_working(master, FIRST_GENERATION), sign_statement(grant, authority)
    with _founding(home):
        return write_keys(home, working, authority.public, device=device.seed(), grant=signed)


def recover_identity(home: Home, master: bytes) -> PeerId:
    """Write the keys that the words give back, without a grant: this home may read, not write (DESIGN 10, `recover`).

    Raises:
        UserError: an identity is there already; of other words, with the code of a wrong passphrase.

    """
    if _has_found_nothing(home):
        raise refuse_words(
            f"{home.path} holds an identity of other words, under which no backup was found",
            hint=f"if those words were the wrong ones: `backup-peer agent stop`, remove {home.path}, and recover again",
        )
    if home.exists_identity and derive_authority(master).public != _key_file(home).authority:
        raise refuse_words(
            f"these are the words of another identity than that of {home.path}",
            hint="nothing was changed: to bring theirs back, name another folder with --home DIR",
        )
    _refuse_existing(home)
    with _founding(home):
        return write_keys(home, derive_working(master, FIRST_GENERATION), derive_authority(master).public)


def check_master(home: Home, master: bytes) -> WorkingSecret:
    """Check that the words are those of this home, and return its working secret; a locked home stays so.

    Raises:
        NotFoundError: no identity here.
        UserError: the words are those of another identity; with the code of a wrong passphrase.
        DamagedStateError: a key file is not what it should be.

    """
    file = _key_file(home)
    working = derive_kept(master, file)
    of_words = derive_identity(working).public, derive_authority(master).public
    # Both: agreements bind hosts to an authority, and a grant of another one than theirs would lock this home out.
    if of_words != (identity_of(file), file.authority):
        raise refuse_words(
            f"these are the words of another identity than that of {home.path}",
            hint="nothing was changed: take the words that came with this identity",
        )
    return working


def derive_kept(master: bytes, file: KeyFile) -> WorkingSecret:
    """Return what the words give of the generation that a key file is of, with all that it keeps of those before."""
    if file.repository:
        return derive_heir(master, file.generation, RepositoryId(file.repository))
    return derive_working(master, file.generation)


def grant_writer(home: Home, master: bytes, *, repository: RepositoryId, epoch: int, clock: Clock) -> None:
    """Write a grant of `epoch` that makes this home's device the writer of its repository (ADR 35).

    To be called while no agent has the home. The device key is there already: a grant can't name one that is lost.

    Raises:
        as `check_master`.

    """
    check_master(home, master)
    device = DeviceId(_read_device(home).public)
    grant = WriterGrant(repository=repository, epoch=epoch, device=device, time_ms=clock.now_ms())
    # Durable before the agent starts with it, and before any host sees a head under it; the one before is void then.
    write_private(home.keys / "grant", sign_statement(grant, derive_authority(master)))


def load_peer_id(home: Home) -> PeerId:
    """Return the peer id of this home, be it locked.

    Raises:
        NotFoundError: no identity here.
        DamagedStateError: a key file is not what it should be.

    """
    return PeerId(identity_of(_key_file(home)))


def load_keys(home: Home, secret: bytes = b"") -> HomeKeys:
    """Read all key files. secret: what opens a locked home, a passphrase or the key in the keyring.

    Raises:
        NotFoundError: no identity here.
        DamagedStateError: a key file is not what it should be.
        UserError: the home is locked, and the secret is none or a wrong one.

    """
    file = _key_file(home)
    working = open_working(home.keys / "working", file, secret)
    device = _read_device(home)
    grant_file = home.keys / "grant"
    grant = _read_grant(grant_file)
    named = RepositoryId(file.repository) if file.repository else None
    repository = _read_repository(grant_file, grant, authority=file.authority, device=device) if grant else named
    return HomeKeys(
        working=working,
        authority=file.authority,
        identity=derive_identity(working),
        device=device,
        transport_seed=_read_transport(home.keys / "transport"),
        grant=grant,
        repository=repository,
        heir=load_heir(home, secret),
        former=load_former(home, working),
    )


def change_custody(
    home: Home, working: WorkingSecret, custody: Custody, secret: bytes = b"", *, stretch: Stretch = USUAL
) -> None:
    """Write the working secret of a home anew, so that `secret` opens it: a passphrase, a key, or nothing.

    Raises:
        DamagedStateError: the key file is not what it should be; nothing was changed.

    """
    write_custody(home, seal_custody(home, working, custody, secret, stretch=stretch))


def seal_custody(
    home: Home, working: WorkingSecret, custody: Custody, secret: bytes = b"", *, stretch: Stretch = USUAL
) -> bytes:
    """Return the key file as `change_custody` writes it, for who must keep the key before the file stands.

    Raises:
        DamagedStateError: the key file is not what it should be.
        UserError: a succession is under way, whose keys are under what opens this home now.

    """
    if is_begun(home):
        raise UserError(
            "a new identity is on its way here, under what opens the keys now",
            hint="`backup-peer recover --new-identity` goes on with it; then change this",
        )
    return seal_working(working, _key_file(home).authority, custody, secret, stretch=stretch)


def write_custody(home: Home, packed: bytes) -> None:
    """Write what `seal_custody` returned, and remove what a write before left half done: it may lie open."""
    write_private(home.keys / "working", packed)
    sweep_unfinished(home.keys)


def unlock_working(home: Home, secret: bytes) -> WorkingSecret:
    """Return the working secret of a home, as `load_keys` does."""
    return open_working(home.keys / "working", _key_file(home), secret)


def _key_file(home: Home) -> KeyFile:
    if not home.exists_identity:
        raise NotFoundError(
            f"no identity in {home.path}", hint="run `backup-peer init` first, or `backup-peer recover` with your words"
        )
    return read_key_file(home.keys / "working")


def refuse_words(message: str, hint: str) -> UserError:
    """Return the error for words that are another's: as with a wrong passphrase, who types is not who they must be."""
    error = UserError(message, hint=hint)
    error.exit_code = ExitCode.AUTHENTICATION
    return error


def _read_device(home: Home) -> SigningKey:
    return SigningKey.from_seed(_read_seed(home.keys / "device"))


def _has_found_nothing(home: Home) -> bool:
    """Whether a home was recovered and never found a backup, nor hosts in its own folder: its keys are all there is."""
    is_recovered = home.exists_identity and not (home.keys / "grant").exists()
    has_found = home.repository.is_dir() and any(home.repository.iterdir())
    return is_recovered and not has_found and not home.default_store.exists()


def _refuse_existing(home: Home) -> None:
    if home.exists_identity:
        raise UserError(
            f"{home.path} already has an identity",
            hint="use another folder with --home DIR, or see `backup-peer id`; nothing was changed",
        )
    home.check_whole()


@contextmanager
def _founding(home: Home) -> Iterator[None]:
    """Have a home without identity to ourselves: of two that make one at once, files of both would lie mixed.

    Raises:
        UserError: an identity is there by now, or is being made.

    """
    home.prepare()
    with home.lock() as is_ours:
        if not is_ours:
            raise UserError(f"another command uses {home.path} just now", hint="`backup-peer id` shows who it became")
        _refuse_existing(home)
        yield


def write_keys(
    home: Home, working: WorkingSecret, authority: bytes, *, device: bytes = b"", grant: bytes = b""
) -> PeerId:
    """Write the keys of a home that has none yet. device: a seed, else a new one; grant: of that device, else none."""
    sweep_unfinished(home.keys)
    write_private(home.keys / "device", device or SigningKey.generate().seed())
    # Never taken along: of two agents under one transport key, each would be dialled in place of the other.
    write_private(home.keys / "transport", SigningKey.generate().seed())
    if grant:
        write_private(home.keys / "grant", grant)
    else:
        # An `init` that was cut short may have left that of another identity: it names neither these keys nor device.
        (home.keys / "grant").unlink(missing_ok=True)
    # Last: its presence says that everything else is there.
    write_private(home.keys / "working", seal_working(working, authority, Custody.NOTHING))
    return PeerId(derive_identity(working).public)


def give_up_writing(home: Home) -> None:
    """Put the grant of a home aside, durably: from then on it reads, and makes no backups. No agent may have the home.

    The file stays, under another name: whoever lost the home it was given to still has the words, and this to look at.
    """
    (home.keys / "grant").rename(home.keys / "grant.moved")
    sync_folder(home.keys)


def _read_grant(path: Path) -> bytes:
    """Return the signed grant, b"" in a home that was recovered; an empty file is damage, not a recovered home."""
    try:
        grant = read_bounded(path)
    except FileNotFoundError:
        return b""
    if not grant:
        raise _damaged_grant(path)
    return grant


def _read_transport(path: Path) -> bytes:
    """Return the transport key; it is random, so a damaged one is made anew: partners learn it at the next meeting."""
    try:
        return _read_seed(path)
    except DamagedStateError as exc:
        _log.warning("made a transport key anew", reason=exc.message)
        seed = SigningKey.generate().seed()
        with suppress(OSError):  # then the next start makes another
            write_private(path, seed)
        return seed


def _read_repository(path: Path, grant: bytes, *, authority: bytes, device: SigningKey) -> RepositoryId:
    try:
        said = open_statement(WriterGrant, grant, authority)
    except PeerFault as exc:
        raise _damaged_grant(path) from exc
    if said.device != device.public:
        raise _damaged_grant(path)
    return RepositoryId(said.repository)


def _read_seed(path: Path) -> bytes:
    try:
        data = read_bounded(path)
    except FileNotFoundError as exc:
        raise explain_damage(path) from exc
    if len(data) != 32:
        raise explain_damage(path)
    return data


def _damaged_grant(path: Path) -> DamagedStateError:
    return DamagedStateError(
        f"the key file {path} is damaged",
        hint="bring it back from a copy of this home, with the device file beside it; or move it away: "
        "then this home may restore, not back up",
    )
