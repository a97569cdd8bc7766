"""Signaling through a real proxy: names are looked up there, and a proxy that fails is not gone around."""

import asyncio
import contextvars
import struct
from contextlib import asynccontextmanager

import pytest

from backuppeer.errors import Unavailable, UserError
from backuppeer.signaling.client import open_link
from backuppeer.signaling.messages import Browse, Page
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.proxying import parse_proxy, proxy_for, use_nothing, use_proxy
from signaling.kit import Host, NoJitter, run, serving

NAME = "signaling.test"
URL = f"ws://{NAME}:8443"


async def pump(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def proxy(port, *, kind):
    """A proxy that sends everybody to one port of this machine, and notes the names it was asked for."""
    asked, tasks = [], set()

    async def socks(reader, writer):
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        head = await reader.readexactly(5)
        assert head[:4] == b"\x05\x01\x00\x03", "a name, to be looked up here"
        name = await reader.readexactly(head[4])
        (to_port,) = struct.unpack(">H", await reader.readexactly(2))
        asked.append(f"{name.decode()}:{to_port}")
        return b"\x05\x00\x00\x01" + bytes(6)

    async def http(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        verb, name, _ = head.split(b" ", 2)
        assert verb == b"CONNECT"
        asked.append(name.decode())
        return b"HTTP/1.1 200 go on\r\n\r\n"

    async def carry(reader, writer):
        tasks.add(asyncio.current_task())
        answer = await (socks if kind == "socks5" else http)(reader, writer)
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(answer)
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
        yield f"{kind}://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
        await asyncio.gather(*tasks)


def told(story):
    """Run a story whose wish for a proxy ends with it."""
    contextvars.copy_context().run(run, story)


@pytest.mark.parametrize("kind", ["socks5", "http"])
def test_servers_are_reached_through_a_proxy_that_looks_their_names_up(kind):
    async def story():
        host = Host()
        async with serving(origins=[URL]) as server, proxy(server.port, kind=kind) as (url, asked):
            use_proxy(url)
            async with Pool([URL], clock=server.clock, randomness=NoJitter()) as pool:
                await pool.publish(host.signed())
                assert [row.peer for row in (await pool.browse()).listings] == [host.peer]
            assert set(asked) == {f"{NAME}:8443"}

    told(story())


def test_a_proxy_that_can_not_be_reached_is_not_gone_around():
    async def story():
        async with serving(origins=[URL]) as server:
            for wish in ("socks5://127.0.0.1:1", "http://127.0.0.1:1"):
                use_proxy(wish)
                with pytest.raises(Unavailable):
                    async with open_link(f"ws://{NAME}:{server.port}"):
                        pass

    told(story())


def test_settings_that_can_not_be_read_let_nothing_be_dialled_but_this_machine():
    async def story():
        async with serving() as server:
            use_nothing()
            with pytest.raises(Unavailable, match="not dialled"):
                async with open_link(URL):
                    pass
            async with open_link(server.url) as link:
                await link.ask(Browse(b"", 1), Page)

    told(story())


def test_a_wish_holds_for_the_tasks_it_was_made_for_alone():
    async def one(wish, both):
        use_proxy(wish)
        await both.wait()
        return await asyncio.create_task(found())

    async def found():
        return proxy_for(URL)

    async def story():
        both = asyncio.Barrier(2)
        wishes = ("socks5://127.0.0.1:9050", "")
        first, second = await asyncio.gather(*(asyncio.create_task(one(wish, both)) for wish in wishes))
        assert (first, second) == ("socks5h://127.0.0.1:9050", True)

    told(story())


def test_what_is_no_proxy_is_refused_without_showing_a_password():
    assert parse_proxy("") == ""
    assert parse_proxy("http://u:p@proxy.example:3128/") == "http://u:p@proxy.example:3128"
    for text in (
        *("socks4://h:1", "ftp://h", "h:1", "socks5://", "socks5://h:99999", "socks5://h:0", "http://h/path"),
        *("http://h?q", "http://h#f", "http://u@h", "socks5://u:s3cret@:1", "socks5://h h", "x" * 300),
    ):
        with pytest.raises(UserError, match="not a proxy's address") as caught:
            parse_proxy(text)
        assert "s3cret" not in str(caught.value) + caught.value.hint
