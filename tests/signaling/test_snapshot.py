"""What was on show outlives a restart, as far as it is signed and still counts."""

import asyncio

import pytest

from backuppeer import limits
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.errors import LocalError, UserError
from backuppeer.signaling.server import snapshot
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Deaf, Put, Shown
from backuppeer.signaling.server.snapshot import KeptEngine, read_snapshot, write_snapshot
from signaling.kit import HOUR_MS, NOW_MS, Host, TurnedClock, run


def shown(host, seq=NOW_MS):
    signed = host.signed(seq)
    return Shown(host.key.public, seq, signed, hash_bytes(Domain.STATEMENT, signed), is_slot=True, life_s=7200)


async def opened(folder, clock):
    engine = KeptEngine(folder, Caps(), clock=clock)
    await engine.open(Deaf())
    await engine.loaded()
    return engine


def test_listings_outlive_a_restart_and_go_after_the_grace_unless_their_host_returns(tmp_path):
    async def story():
        clock, faithful, gone = TurnedClock(), Host(), Host()
        engine = await opened(tmp_path, clock)
        for holder, host in enumerate((faithful, gone)):
            await engine.put_listing(shown(host), holder)
        await engine.close()
        engine = await opened(tmp_path, clock)
        assert sorted(engine.shown()) == sorted([faithful.signed(), gone.signed()])
        assert await engine.has_seen(faithful.key.public)
        assert await engine.put_listing(shown(faithful), 7) is Put.ACCEPTED
        clock.turn(limits.LISTING_GRACE_S)
        await engine.sweep()
        assert engine.shown() == [faithful.signed()]
        assert await engine.put_listing(shown(gone, NOW_MS - 1), 8) is Put.STALE
        await engine.close()

    run(story())


def test_what_expired_or_does_not_hold_is_dropped(tmp_path):
    async def story():
        clock, good, old = TurnedClock(), Host(), Host()
        forged = bytearray(Host().signed())
        forged[-1] ^= 1
        expired = old.signed(now_ms=NOW_MS - 2 * HOUR_MS)
        path = tmp_path / "listings.snapshot"
        write_snapshot(path, [bytes(forged), good.signed(), expired, old.tombstone(NOW_MS), b"x"])
        engine = await opened(tmp_path, clock)
        assert engine.shown() == [good.signed()]
        await engine.close()
        assert read_snapshot(path) == [good.signed()]

    run(story())


def test_a_file_cut_off_anywhere_gives_what_is_whole(tmp_path):
    path, rows = tmp_path / "f", [b"one", b"two"]
    write_snapshot(path, rows)
    whole = path.read_bytes()
    for size in range(9, len(whole)):
        path.write_bytes(whole[:size])
        assert read_snapshot(path) == rows[: (size >= 16)]
    path.write_bytes(whole[:9] + b"\xff\xff\xff\xff" + b"x" * 100)
    assert read_snapshot(path) == []


def test_another_version_is_refused_by_name(tmp_path):
    path = tmp_path / "f"
    for data in (b"bp-shown\x02", b"", b"something else"):
        path.write_bytes(data)
        with pytest.raises(UserError, match="not a snapshot of version 1"):
            read_snapshot(path)


def test_the_file_is_capped(tmp_path, monkeypatch):
    async def story():
        monkeypatch.setattr(limits, "SNAPSHOT_BYTES", 9 + 2 * (4 + len(Host().signed())))
        engine = await opened(tmp_path, TurnedClock())
        for holder in range(3):
            await engine.put_listing(shown(Host()), holder)
        await engine.close()
        assert len(read_snapshot(tmp_path / "listings.snapshot")) == 2

    run(story())


def test_it_is_written_now_and_then_and_a_full_disk_loses_only_that(tmp_path, monkeypatch):
    async def story():
        clock = TurnedClock()
        engine = await opened(tmp_path, clock)
        await engine.put_listing(shown(Host()), 1)
        await engine.sweep()
        assert not (tmp_path / "listings.snapshot").exists()
        clock.turn(limits.SNAPSHOT_EVERY_S)
        await engine.sweep()
        assert len(read_snapshot(tmp_path / "listings.snapshot")) == 1
        monkeypatch.setattr(snapshot.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(LocalError, match="No space left"):
            await engine.close()
        assert len(read_snapshot(tmp_path / "listings.snapshot")) == 1

    asyncio.run(story())
