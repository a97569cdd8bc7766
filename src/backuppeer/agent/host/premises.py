"""The host's side of this home: its store, opened when needed and opened again after it was unplugged.

Knows: where the store lies, who has agreements in it. Must not know: sessions, messages on the network. A store that
can't be opened is unavailable, never empty: its owners are remembered, so that they are still answered and told so.
What is remembered here is a copy: the agreements in the store say who its owners are, and are asked at each opening.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from backuppeer.agent.home.rows import KeptRows
from backuppeer.agent.home.state import State
from backuppeer.agent.host.former import FormerOwners
from backuppeer.agent.host.names import Names
from backuppeer.agent.host.occupancy import Occupancy, moving
from backuppeer.agent.host.place import Place, check_room, has_store
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.offers import Offer
from backuppeer.agent.peers.room import say_later
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import DamagedStateError, LocalError, NotFoundError, StoreUnavailable
from backuppeer.host.disk import translate_failures
from backuppeer.host.heads import HeadAccepted, HeadConflict
from backuppeer.host.layout import Layout
from backuppeer.host.leases import Lease
from backuppeer.host.site import check_site, free_bytes
from backuppeer.host.store import Store, create_store, open_store
from backuppeer.ids import PEER_ID_BYTES, AgreementId, PeerId
from backuppeer.limits import FREE_DISK_FLOOR_BYTES, KNOWN_OWNER_BYTES, LOSS_GRACE_S, PREMISES_NOTES, STORAGE_MIN_BYTES
from backuppeer.proof.statements import Agreement, add_signature, peek_statement
from backuppeer.wire.messages import HeadState, PutHead

_log = structlog.get_logger()
_OWNERS: Final = "store.owners"
_OFFERED: Final = "store.offered"
OnNews = Callable[[AgreementId], None]
"""(agreement that was made or revised, or whose owner left a head); called in a thread."""


class Premises:
    """The store of this home, if it hosts. Thread-safe."""

    def __init__(
        self,
        state: State,
        identity: SigningKey,
        clock: Clock,
        *,
        default: Path | None = None,
        former: Sequence[SigningKey] = (),
    ) -> None:
        """`default`: where the store of this home lies unless its person says otherwise.

        `former`: whom this home was, for owners who know it so alone (ADR 69).
        """
        self._state, self._clock, self.names = state, clock, Names(identity, former)
        self._store: Store | None = None
        self._opened_s = 0.0
        self._lock = threading.Lock()
        self.place, self.occupancy = Place(state, default), Occupancy()
        self._is_moving = False
        self._kept_owners = KeptRows(state, _OWNERS, PEER_ID_BYTES)
        self._owners = frozenset(map(PeerId, self._kept_owners.read()))
        self.former = FormerOwners(state, clock)
        self._notes: dict[str, None] = {}
        self._absence = ""
        self.on_news: OnNews = lambda _: None

    @property
    def notes(self) -> list[str]:
        """Return what a person should know of the store, each thing once, the newest last."""
        return [*self._notes, *([self._absence] if self._absence else [])]

    def note_absence(self, text: str) -> None:
        """Tell that the store can't be used, until it is opened again."""
        self._absence = text

    def note(self, *texts: str) -> None:
        """Keep something to tell; told again it counts as new. The oldest go, or peers would fill memory."""
        for text in texts:
            self._notes.pop(text, None)
            self._notes[text] = None
        for oldest in list(self._notes)[:-PREMISES_NOTES]:
            self._notes.pop(oldest, None)

    @property
    def directory(self) -> Path | None:
        """Return where the store lies; None when this home never hosted."""
        return self.place.directory

    def establish(self, directory: Path, offered_bytes: int) -> Store:
        """Open the store in `directory`, made if there is none yet, and remember it and what it may hold in all.

        Raises:
            StoreUnavailable: foreign, unplugged or read-only.
            NotFoundError: this home's store lies elsewhere.
            UserError: no folder for a store, or its disk has not that much room.

        """
        self._check_known(directory)
        with self._lock:
            if self._is_moving:
                raise moving()
            if self._store is None:
                self._take(self._make(directory, offered_bytes))
            else:
                check_room(offered_bytes, self._store.quota.capacity())
        self.place.settle(directory)
        store = self.open()
        # Never below what is agreed: a smaller slot ends no agreement that stands.
        most = max(offered_bytes, store.totals().agreed_bytes)
        self._state.put_setting(_OFFERED, most.to_bytes(8, "big"))
        store.quota.set_offered(most)
        return store

    def survey(self, directory: Path, offered_bytes: int) -> int:
        """Return the bytes agreed on in the store that `establish` would open; changes nothing.

        Raises:
            as `establish`.

        """
        self._check_known(directory)
        if self.directory is None or not has_store(directory):
            with self._lock:
                self._check_new(directory, offered_bytes)
            return 0
        store = self.open()
        check_room(offered_bytes, store.quota.capacity())
        return store.totals().agreed_bytes

    def _check_known(self, directory: Path) -> None:
        known = self.directory
        if known is not None and known != directory and self.place.is_found_at(directory):
            self.place.settle(directory)  # moved by hand, and by its marker the very same
        elif known is not None and known != directory:
            if not has_store(known):
                raise NotFoundError(
                    f"no store of this home lies in {directory}, nor in {known} any more",
                    hint="plug in or mount its disk, or say with --store where its folder lies now",
                )
            raise NotFoundError(
                f"this home's store lies in {known}",
                hint="leave --store out; `backup-peer host --move-store DIR` moves it",
            )

    def _check_new(self, directory: Path, offered_bytes: int) -> None:
        """Refuse a place where no store could be made; one that has a store is taken as it is."""
        if has_store(directory):
            return
        if self.owners():
            # An empty mount point looks like this: a new store there would answer "not found" to its owners.
            open_store(directory, self.names.own, former=self.names.former).close()
        with translate_failures(directory):
            check_site(Layout(directory))
            place = directory if directory.exists() else directory.parent
            if not os.access(place, os.W_OK | os.X_OK) and place.exists():
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        check_room(offered_bytes, free_bytes(place) - FREE_DISK_FLOOR_BYTES)

    def _make(self, directory: Path, offered_bytes: int) -> Store:
        self._check_new(directory, offered_bytes)
        store = create_store(directory, self.names.own, former=self.names.former)
        try:
            check_room(offered_bytes, store.quota.capacity())
        except BaseException:
            store.close()
            raise
        return store

    def open(self) -> Store:
        """Return the open store; one that came back after it was gone is opened again.

        Raises:
            StoreUnavailable: it can't be used now.
            NotFoundError: this home hosts nothing.

        """
        if self.directory is None:
            raise NotFoundError("this peer hosts nothing", hint="connect to a host first")
        with self._lock:
            if self._is_moving:
                raise moving()
            if self._store is not None:
                try:
                    self._store.check_present()
                except StoreUnavailable:
                    self._store.close()
                    self._store = None
            if self._store is None:
                own, former = self.names.own, self.names.former
                return self._take(open_store(self.place.find(), own, offered_bytes=self._offered(), former=former))
            return self._store

    def leave(self) -> None:
        """Close the store, and let nobody open it until `come_back`."""
        with self._lock:
            self._is_moving = True
        self.close()

    def come_back(self) -> None:
        """Let the store be opened again."""
        with self._lock:
            self._is_moving = False

    def is_just_opened(self) -> bool:
        """Return whether what is not in the store may come yet: its human is moving folders, a disk is mounted late."""
        return self._clock.monotonic_s() < self._opened_s + LOSS_GRACE_S

    def close(self) -> None:
        """Close the store, if it is open."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _offered(self) -> int | None:
        raw = self._state.setting(_OFFERED)
        return int.from_bytes(raw, "big") if raw else None

    def offer_for(self, more_bytes: int) -> int:
        """Return what must be on offer in all, in bytes, for so many more to be agreed on; never less than is."""
        agreed_bytes = 0
        with suppress(StoreUnavailable, NotFoundError):
            agreed_bytes = self.open().totals().agreed_bytes
        return max(self._offered() or 0, agreed_bytes + more_bytes, STORAGE_MIN_BYTES)

    def free_for(self, offer: Offer) -> int:
        """Return how many bytes of an offer are not agreed on yet; 0 while the store is away."""
        try:
            totals = self.open().totals()
        except (StoreUnavailable, NotFoundError):
            return 0
        return max(0, min(offer.storage_bytes - totals.agreed_bytes, totals.free_bytes))

    def owners(self) -> frozenset[PeerId]:
        """Return everybody who has an agreement here, also while the store is away."""
        return self._owners

    def _take(self, store: Store) -> Store:
        """Work with a store that was opened, and learn from its agreements whom to answer."""
        self._store, self._opened_s, self._absence = store, self._clock.monotonic_s(), ""
        self.place.note_opened(store.directory)
        store.quota.later = lambda agreement: self._say_later(store, agreement)
        self.note(*self.describe_opened(store))
        self._remember({lease.owner for lease in store.leases.list_all()})
        for lease in store.leases.list_all():
            store.quota.freeze(lease.agreement, is_frozen=lease.owner in self._state.blocks)
        return store

    def describe_opened(self, store: Store) -> list[str]:
        """Return what a person is to know of what was found and repaired when a store was opened."""
        return [*store.notes, *self._say_missing(store)]

    def _say_missing(self, store: Store) -> Iterator[str]:
        """Yield whose packs were gone from the disk when a store was opened, and what to do."""
        for agreement, packs in store.missing.items():
            if (lease := store.leases.find(agreement)) is not None:
                name, lost = name_of(self._state, lease.owner), "1 pack" if packs == 1 else f"{packs} packs"
                yield (
                    f"{lost} of {name} gone from the disk of the store. If a folder was moved, or a disk is not there "
                    f"yet, put that right within {LOSS_GRACE_S / 60:.0f} minutes; else {name} is told, and its next "
                    "backup sends again what there still is. Check the disk (dmesg, SMART)"
                )

    def _say_later(self, store: Store, agreement: AgreementId | None) -> str:
        return say_later(*store.removals.next_free(agreement), self._clock.now_ms())

    def _remember(self, owners: set[PeerId]) -> None:
        if owners <= self._owners:
            return
        self._owners |= owners  # replaced, never changed in place: other threads look into it
        try:
            self._kept_owners.write(self._owners)
        except LocalError as exc:
            # Only missed while the store is away, and learnt again when it is opened: no reason to keep it shut.
            _log.warning("the owners of the store can't be written down", reason=exc.message)

    def freeze(self, owner: PeerId) -> None:
        """Take nothing new of an owner who is blocked; what it has here is served."""
        for lease in self.leases_of(owner):
            self.open().quota.freeze(lease.agreement, is_frozen=True)

    def thaw(self, owner: PeerId) -> None:
        """Take packs of an owner again."""
        for lease in self.leases_of(owner):
            self.open().quota.freeze(lease.agreement, is_frozen=False)

    def release(self, owner: PeerId) -> None:
        """Forget an owner whose agreements have ended all: after a while it is answered as a stranger is."""
        with self._lock:
            if self._store is not None and not self._store.leases.list_by_owner(owner):
                self.former.add(owner)
                self._owners -= {owner}
                self._kept_owners.write(self._owners)

    def agree(self, signed: bytes) -> Lease:
        """Put a co-signed agreement into force, durably, and remember its owner."""
        store = self.open()
        lease = store.leases.put(signed)
        store.waivers.follow_lock(lease)
        with self._lock:
            self._remember({lease.owner})
        self.on_news(lease.agreement)
        return lease

    def admit(self, owner: PeerId, agreement: AgreementId) -> Store:
        """Return the open store if the agreement is this owner's own; the same words for "none" and "another's".

        Raises:
            NotFoundError: it is not.
            StoreUnavailable: the store can't be used now.

        """
        store = self.open()
        lease = store.leases.find(agreement)
        if lease is None or lease.owner != owner:
            raise NotFoundError(
                "no such agreement with you", hint="ask again: `backup-peer connect PEER --storage 10GB`"
            )
        return store

    def leases_of(self, owner: PeerId) -> list[Lease]:
        """Return the agreements in force with an owner; none when the store is away."""
        try:
            return self.open().leases.list_by_owner(owner)
        except (StoreUnavailable, NotFoundError):
            return []

    def is_newcomer(self, owner: PeerId) -> bool:
        """Return whether an owner has nothing worth a pack here; asks no disk."""
        store = self._store
        if store is None:
            return owner not in self._owners
        held = sum(store.quota.used_bytes(lease.agreement) for lease in store.leases.list_by_owner(owner))
        return held < KNOWN_OWNER_BYTES

    def count_agreements(self) -> int:
        """Return how many agreements are in force; 0 while the store is away."""
        store = self._store
        return len(store.leases.list_all()) if store is not None else 0

    def heads_of(self, owner: PeerId) -> list[HeadState]:
        """Return the newest head held under each agreement with an owner; none when the store is away."""
        states = []
        for lease in self.leases_of(owner):
            try:
                held = self.open().heads.get(lease.agreement)
            except StoreUnavailable as exc:
                self.note_absence(exc.message)
                continue
            except (DamagedStateError, NotFoundError) as exc:
                # The owner must still get in: its packs are whole, and its next head replaces a damaged one.
                self.note(exc.message)
                continue
            if held is not None:
                states.append(HeadState(lease.agreement, held.signed_head, held.signed_grant))
        return states

    def cosign(self, signed: bytes) -> Lease:
        """Sign a proposal as the host that it names, and put it into force, durably.

        Raises:
            as `Names.signer` and `Leases.put`.

        """
        host = PeerId(peek_statement(Agreement, signed).host)
        return self.agree(add_signature(signed, Agreement, self.names.signer(host)))

    def signer_of(self, lease: Lease) -> SigningKey:
        """Return the key by which this host gives its word under an agreement: of the name that its owner knows."""
        return self.names.signer(lease.host)

    def now_ms(self) -> int:
        """Return when it gives it."""
        return self._clock.now_ms()

    def put_head(self, store: Store, message: PutHead) -> HeadAccepted | HeadConflict:
        """Set a head by compare-and-set and countersign it; `on_news` hears of it when it stands."""
        answer = store.heads.put_head(
            message.agreement,
            message.head,
            message.grant,
            signer=self.signer_of(store.leases.get(message.agreement)),
            now_ms=self._clock.now_ms(),
            drafts=message.drafts,
        )
        if isinstance(answer, HeadAccepted):
            self.on_news(message.agreement)
        return answer
