"""What a server sees of two strangers finding each other (REQUIREMENTS S4)."""

import asyncio

from backuppeer import limits
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.signaling.knock import KnockReply, Verdict, open_knock, open_reply, seal_knock, seal_reply
from backuppeer.signaling.messages import Browse, Deposit, OpenInbox, ProveInbox, Publish, Taken
from backuppeer.signaling.nonces import NonceMemory
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.server import desk
from signaling.kit import NOW_MS, Host, NoJitter, make_knock, run, serving

ADDRESS = "203.0.113.77:4711"
HOST_ADDRESS = b"198.51.100.9:999"


def record_requests(monkeypatch):
    """Record every decoded frame a client sends, with the bytes it came as."""
    seen = []
    decode = desk.decode_request

    def recording(data):
        request = decode(data)
        seen.append((request, bytes(data)))
        return request

    monkeypatch.setattr(desk, "decode_request", recording)
    return seen


async def meet(server, verdict, clock):
    """Publish, browse, knock, answer: everything two peers say through a server. Returns (owner key, knock, reply)."""
    host = Host(envelope=EnvelopeKey.generate())
    owner, reply_inbox, reply_key = SigningKey.generate(), SigningKey.generate(), EnvelopeKey.generate()
    nonces = NonceMemory()
    answered: asyncio.Future[KnockReply] = asyncio.get_running_loop().create_future()
    async with (
        Pool([server.url], clock=clock, randomness=NoJitter()) as hosts,
        Pool([server.url], clock=clock, randomness=NoJitter()) as owners,
    ):

        async def hear(sealed, at):
            knock = open_knock(sealed, host.envelope, recipient=host.peer, now_ms=NOW_MS)
            nonces.remember(knock.nonce, knock.expires_ms, now_ms=NOW_MS)
            binding = b"" if verdict is Verdict.REJECTED else b"binding of " + HOST_ADDRESS
            reply = KnockReply(
                host=host.peer, owner=knock.owner, nonce=knock.nonce, verdict=verdict, binding=binding, issued_ms=NOW_MS
            )
            await hosts.deposit([at], knock.reply_inbox, seal_reply(reply, host.key, knock=knock))

        async def read(sealed, _at):
            answered.set_result(open_reply(sealed, reply_key, knock=knock))

        await hosts.publish(host.signed())
        await hosts.open_inbox(host.inbox, hear)
        row = next(r for r in (await owners.browse()).listings if r.peer == host.peer)
        await owners.open_inbox(reply_inbox, read)
        knock = make_knock(host, owner, reply_inbox, reply_key, listing_seq=row.listing.seq, servers=[server.url])
        sealed = seal_knock(knock, owner, envelope_key=row.listing.envelope_key)
        await owners.deposit([server.url], row.listing.inbox, sealed)
        return owner, knock, await answered


def test_the_server_sees_no_requester_no_wish_no_address_and_no_verdict(monkeypatch):
    async def story():
        seen = record_requests(monkeypatch)
        async with serving() as server:
            owner, knock, reply = await meet(server, Verdict.ACCEPTED, server.clock)
            assert reply.verdict is Verdict.ACCEPTED
            everything = b"".join(data for _, data in seen) + repr(server.engine.record).encode("latin-1", "replace")
            stored = b"".join(sealed for r in server.engine.record if isinstance(r, tuple) for sealed in map(_flat, r))
        for secret in (
            owner.public,
            format_peer_id(PeerId(owner.public)).encode(),
            owner.public.hex().encode(),
            knock.transport,
            knock.nonce,
            knock.reply_key,
            ADDRESS.encode(),
            b"203.0.113.77",
            HOST_ADDRESS,
            str(knock.size_bytes).encode(),
            knock.size_bytes.to_bytes(8, "big"),
            b"accepted",
            b"pending",
            b"rejected",
        ):
            assert secret not in everything
            assert secret not in stored

    run(story())


def _flat(value):
    return value if isinstance(value, bytes) else b""


def test_the_recorder_would_have_seen_a_leak(monkeypatch):
    """The test above can fail: what the listing says publicly is in the record."""

    async def story():
        seen = record_requests(monkeypatch)
        async with serving() as server:
            _, knock, _ = await meet(server, Verdict.ACCEPTED, server.clock)
        everything = b"".join(data for _, data in seen)
        assert knock.recipient in everything
        assert knock.reply_inbox in everything

    run(story())


def test_accepted_pending_and_rejected_look_the_same(monkeypatch):
    async def story():
        shapes = []
        for verdict in Verdict:
            seen = record_requests(monkeypatch)
            async with serving() as server:
                _, _, reply = await meet(server, verdict, server.clock)
            assert reply.verdict is verdict
            sent = [(type(r), len(data)) for r, data in seen if not isinstance(r, Taken)]
            shapes.append(sorted(sent, key=repr))
            assert [len(r.sealed) for r, _ in seen if isinstance(r, Deposit)] == [limits.KNOCK_BYTES] * 2
            monkeypatch.undo()
        assert shapes[0] == shapes[1] == shapes[2]

    run(story())


def test_a_browse_says_nothing_of_what_is_wanted(monkeypatch):
    async def story():
        seen = record_requests(monkeypatch)
        async with serving() as server, Pool([server.url], clock=server.clock) as pool:
            await pool.browse()
        assert [type(r) for r, _ in seen] == [Browse]
        assert Browse.__struct_fields__ == ("cursor", "limit")

    run(story())


def test_each_step_has_a_socket_of_its_own(monkeypatch):
    async def story():
        sockets = {}
        answer = desk.Desk._answer

        async def recording(self, visit, request):
            sockets.setdefault(visit.number, set()).add(type(request))
            return await answer(self, visit, request)

        monkeypatch.setattr(desk.Desk, "_answer", recording)
        async with serving() as server:
            await meet(server, Verdict.PENDING, server.clock)
        allowed = [{Publish}, {Browse}, {Deposit}, {OpenInbox, ProveInbox, Taken}]
        assert all(any(kinds <= one for one in allowed) for kinds in sockets.values())
        assert sum({Deposit} == kinds for kinds in sockets.values()) == 2

    run(story())
