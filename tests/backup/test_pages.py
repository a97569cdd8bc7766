"""Pages for packs: nobody gets what another still looks at, and they are used again when nobody does."""

import gc
import os

import pytest

from backuppeer.backup import pages as pages_module
from backuppeer.backup.pages import PagePool, Pages, find_pages
from backuppeer.limits import PACK_TARGET_BYTES, PAGES_KEPT
from files.descriptors import count_open

shared = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no nameless shared memory")


def make_pool(kept: int = PAGES_KEPT) -> PagePool:
    return PagePool(PACK_TARGET_BYTES, kept, is_shared=True)


def test_pages_somebody_looks_at_are_not_lent_to_another():
    pool = make_pool()
    first = pool.take()
    part = first[100:200]
    del first
    second = pool.take()
    second[:] = b"x" * PACK_TARGET_BYTES
    assert bytes(part) == bytes(100)
    assert part.obj is not second.obj


def test_pages_nobody_looks_at_any_more_are_lent_again():
    pool = make_pool()
    first = pool.take()
    owner = first.obj
    part = first[5:]
    del first
    assert pool.take().obj is not owner
    del part
    assert pool.take().obj is owner


def test_a_system_that_can_t_tell_lends_fresh_pages(monkeypatch):
    class Fixed(Pages):
        def resize(self, _):
            raise SystemError("mmap: resizing not available--no mremap()")

    monkeypatch.setattr(pages_module, "Pages", Fixed)
    pool = make_pool()
    first = pool.take().obj
    assert pool.take().obj is not first


def test_when_all_are_lent_none_is_found_and_one_more_is_taken():
    pool = make_pool(kept=1)
    first = pool.find()
    assert pool.find() is None
    more = pool.take()
    assert more.obj is not first.obj
    del first
    assert pool.find() is not None


@shared
def test_pages_and_their_descriptors_go_with_the_pool():
    gc.collect()
    before = count_open()
    pool = make_pool()
    views = [pool.take() for _ in range(PAGES_KEPT + 3)]
    assert count_open() > before
    del views
    assert pool.take().obj is not None
    del pool
    gc.collect()
    assert count_open() == before


@shared
def test_what_is_written_shows_to_whoever_maps_the_descriptor():
    view = make_pool().take()
    view[4096:4101] = b"hello"
    pages = find_pages(view[10:20])
    assert pages is not None
    assert os.pread(pages.fd, 5, 4096) == b"hello"


def test_other_memory_is_no_pages():
    assert find_pages(b"bytes") is None
    assert find_pages(memoryview(bytearray(10))) is None


def test_where_there_is_no_shared_memory_pages_are_private(monkeypatch):
    monkeypatch.setattr(pages_module, "_HAS_SHARED", False)
    view = make_pool().take()
    view[:3] = b"abc"
    assert (len(view), bytes(view[:3]), find_pages(view)) == (PACK_TARGET_BYTES, b"abc", None)
