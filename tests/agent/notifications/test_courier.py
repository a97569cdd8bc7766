"""The process that sends: to real services on loopback, and what becomes of those that fail."""

import asyncio
import email
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agent.notifications.services import MailServer, Webhook, serving
from backuppeer.agent.notifications import courier
from backuppeer.agent.notifications.message import Message
from backuppeer.limits import NOTIFY_ANSWER_BYTES

MESSAGE = Message(title="Backup Peer on attic: 1 trouble", body="Alice was caught.\n→ `backup-peer repair` there")
CHILD = "backuppeer.agent.notifications"
NOBODY = "json://127.0.0.1:1/secret-path"


def deliver(*urls):
    return asyncio.run(courier.deliver(urls, MESSAGE))


def test_a_webhook_and_a_mailbox_are_told_and_those_that_fail_hold_up_none_and_give_no_secret_away():
    with serving(Webhook()) as hook, serving(Webhook()) as busy, serving(MailServer()) as post:
        busy.code = 503
        answers = deliver(hook.url, NOBODY, post.url, busy.url, "nonsense://user:secret@x")
    assert [answer.is_sent for answer in answers] == [True, False, True, False, False]
    (heard,) = hook.heard
    assert (heard["title"], heard["message"], heard["type"]) == (MESSAGE.title, MESSAGE.body, "warning")
    letter = email.message_from_string(post.letters[0])
    assert (letter["To"], letter["Subject"]) == ("you@home.example", MESSAGE.title)
    text = "".join(part.get_payload(decode=True).decode() for part in letter.walk() if not part.is_multipart())
    assert "Alice was caught." in text
    assert answers[1].reason == "it was not reached, or did not take it"
    assert answers[3] == courier.Answer(reason="it answered with 503")
    assert answers[4].is_wrong
    assert b"secret" not in msgspec.json.encode(answers)


def test_a_service_that_hangs_is_left_after_a_while_and_its_process_with_it(monkeypatch):
    monkeypatch.setattr(courier, "NOTIFY_SEND_S", 0.0)
    with serving(Webhook()) as hook:
        hook.is_hanging = True
        (answer,) = deliver(hook.url)
    assert answer == courier.Answer(reason="it was not sent within 0 s")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't hold a process to that limit")
def test_a_service_that_answers_without_end_fills_no_memory_and_the_process_ends_by_itself(monkeypatch):
    smaller = f"from {CHILD} import child; child.NOTIFY_MEMORY_BYTES = 128 << 20; child.main()"
    monkeypatch.setattr(courier, "_COMMAND", (sys.executable, "-c", smaller))
    with serving(Webhook()) as hook:
        hook.is_endless = True
        (answer,) = deliver(hook.url)
    assert answer == courier.Answer(reason="it was not reached, or did not take it")


def test_a_process_whose_agent_was_killed_ends_by_itself():
    sooner = f"from {CHILD} import child; child.NOTIFY_SEND_S, child._GRACE_S = 0.0, 0.1; child.main()"
    with subprocess.Popen([sys.executable, "-c", sooner], stdin=subprocess.PIPE) as process:
        assert process.wait(60) == -signal.SIGALRM


@pytest.mark.parametrize("said", [b"", b"no json", b"[]", b'[{"is_sent":1}]', b"[" * (NOTIFY_ANSWER_BYTES + 1)])
def test_an_answer_that_is_none_means_that_nobody_was_told(said):
    (answer,) = courier.read_answers(said, 1)
    assert not answer.is_sent


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch):
    endless = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    monkeypatch.setattr(courier, "_COMMAND", (sys.executable, "-c", endless))
    (answer,) = deliver(NOBODY)
    assert not answer.is_sent


def test_without_apprise_it_says_so(tmp_path):
    (tmp_path / "apprise.py").write_text("raise ImportError('not here')\n")
    errand = msgspec.json.encode(courier.Errand(urls=[NOBODY], body="b"))
    command = [sys.executable, "-m", "backuppeer.agent.notifications.child"]
    done = subprocess.run(command, input=errand, capture_output=True, cwd=tmp_path, timeout=60, check=True)
    (answer,) = courier.read_answers(done.stdout, 1)
    assert answer.is_missing
    assert not answer.is_sent


@pytest.mark.slow
def test_addresses_are_looked_at_before_anything_is_sent():
    with serving(Webhook()) as hook:
        right, wrong = courier.check_urls([hook.url, "nonsense://x"])
    assert (right.is_wrong, wrong.is_wrong, hook.heard) == (False, True, [])


def test_the_process_gets_no_secret_in_its_arguments_or_its_environment():
    given = {"PATH": "/bin", "BACKUPPEER_PASSPHRASE": "secret", "BACKUPPEER_PROXY": "socks5://u:p@h", "HOME": "/root"}
    assert courier.choose_environment(given) == {"PATH": "/bin", "HOME": "/root"}
    assert "json://" not in " ".join(courier._COMMAND)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_nobody_who_lists_processes_sees_an_address(monkeypatch):
    """Looked at while the child waits for a service that hangs."""

    async def scenario(hook):
        sending = asyncio.create_task(courier.deliver([hook.url], MESSAGE))
        seen = []
        while not seen:
            await asyncio.sleep(0.01)
            seen = [pid for pid in children() if b"notifications.child" in read(pid, "cmdline")]
        told = b"".join(read(pid, name) for pid in seen for name in ("cmdline", "environ"))
        hook.ending.set()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return told

    with serving(Webhook()) as hook:
        hook.is_hanging = True
        told = asyncio.run(scenario(hook))
    assert told
    assert b"pass-of-hook" not in told


def children():
    """Return the processes that this one began."""
    tasks = Path("/proc/self/task")
    return [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


def read(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
