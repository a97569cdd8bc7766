"""What an owner asks a store, what a bad disk does to it, and what the host has signed then."""

from backuppeer.host.prove import acknowledge, answer_challenge
from backuppeer.proof.audits import sign_challenge
from backuppeer.proof.custody import LossReport, open_packs
from backuppeer.proof.removals import sign_removal
from backuppeer.proof.statements import statement_hash
from host.host_world import NOW_MS, agreement_id

A = agreement_id()
DAY_MS = 86_400_000


def challenge(store, world, *samples, standing=None, by=None, nonce=b"n" * 16):
    standing = standing or store.heads.name_standing(A)
    return sign_challenge(samples, by or world.owner, standing=standing, nonce=nonce, time_ms=NOW_MS)


def audit(store, world, *samples, now_ms=NOW_MS, **changes):
    asked = challenge(store, world, *samples, **changes)
    lease = store.leases.get(A)
    return asked, answer_challenge(store, lease, asked, signer=world.host, now_ms=now_ms)


def ack(store, world, *packs):
    return acknowledge(store, A, packs, signer=world.host, now_ms=NOW_MS)


def settle(store, world):
    return store.losses.settle(A, signer=world.host, now_ms=NOW_MS)


def reports(store, world):
    """Return cause and packs of each report, whose signatures hold."""
    found, more = store.losses.list_reports(A, after=0, limit=6)
    assert not more
    said = [open_packs(LossReport, one.signed, one.packs, host=world.host.public, agreement=A) for one in found]
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    return [(one.cause, set(row.packs)) for one, row in zip(said, found, strict=True)]


def pack_path(store, stored):
    (path,) = store.directory.rglob(stored.hex())
    return path


def flip(store, stored, at=0):
    path = pack_path(store, stored)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def change(store, world, kind, verb, *packs):
    held = store.heads.get(A)
    head = (statement_hash(held.signed_head), held.head.number)
    signed = sign_removal(kind, packs, world.owner, agreement=A, head=head, time_ms=NOW_MS)
    return getattr(store.removals, verb)(A, signed, packs)


def put_head(store, world, number):
    held = store.heads.get(A)
    after = world.head(number, held.signed_head)
    store.heads.put_head(A, after, world.grant(), signer=world.host, now_ms=NOW_MS)
