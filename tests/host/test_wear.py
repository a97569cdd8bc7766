"""A store to which anything happens, in any order: its room is counted right, and what is asked for is answered."""

import random
from contextlib import suppress

import pytest

from backuppeer.host.reader import DamagedPackError
from backuppeer.host.store import open_store
from backuppeer.limits import LOSS_KEPT_S
from backuppeer.proof.audits import Sample
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.removals import PackDelete, PackRevive
from host.host_world import NOW_MS, put_pack
from host.losing import A, ack, audit, change, put_head, settle


class Wear:
    """A store to which anything may happen, in any order."""

    def __init__(self, store, world, directory, rng) -> None:
        self.store, self.world, self.directory, self.rng = store, world, directory, rng
        self.data = {compute_stored_id(data): data for data in (rng.randbytes(100 + n) for n in range(6))}

    def put(self, stored):
        if not self.store.has(A, stored) and not self.store.removals.graveyard.is_deleted(A, stored):
            put_pack(self.store, self.data[stored])

    def spoil(self, stored):
        for path in self.directory.rglob(stored.hex()):
            path.write_bytes(self.data[stored][::-1])

    def mend(self, stored):
        for path in self.directory.rglob(stored.hex()):
            path.write_bytes(self.data[stored])

    def remove(self, stored):
        for path in self.directory.rglob(stored.hex()):
            path.unlink()

    def suspect(self, stored):
        self.store.losses.suspect(A, [stored])

    def settle(self, _):
        settle(self.store, self.world)

    def ask(self, stored):
        ack(self.store, self.world, stored)
        audit(self.store, self.world, Sample(stored, 0, 1))

    def scrub(self, _):
        self.store.scrub.step(now_ms=NOW_MS, total_bytes=1)

    def delete(self, stored):
        change(self.store, self.world, PackDelete, "delete", stored)

    def revive(self, stored):
        put_head(self.store, self.world, self.store.heads.get(A).head.number + 1)
        change(self.store, self.world, PackRevive, "revive", stored)

    def age(self, _):
        self.store.sweep.add_age(self.rng.choice([50, 150, LOSS_KEPT_S]))
        self.store.sweep.run()

    def reopen(self, _):
        self.store.close()
        self.store = open_store(self.directory, self.world.peer, floor_bytes=0)

    def check(self, before):
        """Counted as when it is counted anew; what is listed is whole, or nobody has looked."""
        used = self.store.usage(A)
        self.reopen(b"")
        assert self.store.usage(A) == used, before


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_to_packs_their_room_is_counted_as_if_it_were_counted_anew(
    directory, store, world, lease, seed
):
    rng = random.Random(seed)
    wear = Wear(store, world, directory, rng)
    store.heads.put_head(A, world.head(1), world.grant(), signer=world.host, now_ms=NOW_MS)
    deeds = [name for name in vars(Wear) if not name.startswith("_") and name != "check"]
    done = []
    for _ in range(40):
        deed, stored = rng.choice([*deeds, "put", "put", "spoil", "settle"]), rng.choice(list(wear.data))
        done.append((deed, stored.hex()[:4]))
        with suppress(DamagedPackError):
            getattr(wear, deed)(stored)
        if deed in {"put", "settle", "age"}:
            assert wear.store.usage(A).used_bytes >= 0
    # Files that come or go unseen are only seen at opening: so that once first, and then the count of what was seen.
    wear.reopen(b"")
    for deed in rng.choices(["settle", "scrub", "age", "put", "delete", "suspect"], k=20):
        done.append((deed, "later"))
        getattr(wear, deed)(rng.choice(list(wear.data)))
    wear.check(done)
    wear.store.close()
