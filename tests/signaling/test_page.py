"""What a person sees who opens a server's address in a browser."""

import asyncio
import importlib.util
import logging
import re
import sys
from pathlib import Path
from typing import get_args

import pytest

from backuppeer.signaling.messages import Answer, Request
from signaling.kit import run, serving

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("privacy_page", ROOT / "tools" / "privacy_page.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["privacy_page"] = module
    spec.loader.exec_module(module)
    return module


async def get(port, path="/", host="anything.example"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.decode(), body.decode()


def test_the_page_is_the_document(maker):
    """`python tools/privacy_page.py` makes it anew."""
    assert maker.PAGE.read_text("utf-8") == maker.render(maker.SOURCE.read_text("utf-8"))


def test_a_browser_is_shown_the_page_by_whatever_name_it_came(maker):
    async def story():
        async with serving() as server:
            head, body = await get(server.port)
        assert " 200 " in head.splitlines()[0]
        assert "text/html; charset=utf-8" in head
        assert "default-src 'none'" in head
        assert body == maker.PAGE.read_text("utf-8")
        assert "Set-Cookie" not in head

    run(story())


def test_the_page_runs_nothing_loads_nothing_and_leads_nowhere(maker):
    page = maker.render(maker.SOURCE.read_text("utf-8")).lower()
    assert not re.search(r"<script|<img|<link|<iframe|<form|href=|src=|url\(|@import|https?://", page)
    assert "`" not in page
    assert "**" not in page
    assert page.count("<table>") == 3


def test_each_message_that_there_is_has_a_row(maker):
    """Which of them a whole life sends, and what is in them: tests/e2e/test_metadata.py."""
    parts = maker.SOURCE.read_text("utf-8").partition("<!-- messages -->")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \|", parts, re.MULTILINE)
    kinds = {kind.__struct_config__.tag for kind in (*get_args(Request), *get_args(Answer))}
    assert sorted(rows) == sorted(kinds)


def test_what_is_no_markup_of_ours_stays_text(maker):
    assert "<p>&lt;script&gt;a &amp; b" in maker.render("<script>a & b")
    assert "<p><code>&lt;x&gt;</code>" in maker.render("`<x>`")
    assert "<li>one\nmore\n<li>two" in maker.render("- one\nmore\n- two")


def test_no_visit_leaves_an_address_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)

    async def story():
        async with serving() as server:
            for path in ("/", "/health", "/nothing"):
                await get(server.port, path)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: evil\r\nUpgrade: websocket\r\n\r\n")
            assert b" 421 " in await reader.read()
            writer.close()

    run(story())
    said = [record.getMessage() for record in caplog.records if record.name.startswith("backuppeer")]
    assert not [text for text in said if "127.0.0.1" in text or "203.0.113" in text]
