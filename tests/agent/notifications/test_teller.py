"""Trouble told as it comes, and its end; what can't be sent is kept and tried again."""

import asyncio

import pytest

from agent.loops import SetClock
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.state import State
from backuppeer.agent.notifications import courier, teller
from backuppeer.agent.notifications.courier import Answer
from backuppeer.agent.notifications.message import Message
from backuppeer.agent.notifications.outbox import read_outbox
from backuppeer.agent.notifications.teller import Teller, describe_unsent
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.errors import DamagedStateError
from backuppeer.limits import NOTIFY_CALM_S, NOTIFY_RETRY_S

CAUGHT = Trouble(key="caught:a", text="alice was caught", fix="`backup-peer repair` there")
DAY_MS = 86_400_000


class Machine:
    """A home with a teller, and what stands against it."""

    def __init__(self, folder):
        self.home = Home(folder)
        folder.mkdir()
        self.clock, self.troubles = SetClock(), []
        self.start()

    def start(self):
        async def find():
            return self.troubles

        async def report():
            return Message(title="the week", body="all of it")

        self.state = State(self.home.state)
        self.teller = Teller(self.home, self.state, self.clock, machine="attic", find=find, report=report)

    def restart(self):
        self.state.close()
        self.start()

    def set(self, *urls, report=""):
        listed = ", ".join(f'"{url}"' for url in urls)
        self.home.config.write_text(f"[notify]\nurls = [{listed}]\n" + (f'report = "{report}"\n' if report else ""))

    def look(self, *troubles, later_s=0.0):
        self.troubles = list(troubles)
        self.clock.ms += int(later_s * 1000)
        return asyncio.run(self.teller.look())


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path / "home")
    yield made
    made.state.close()


@pytest.fixture
def mailman(monkeypatch):
    """Stands for the process that sends, where a test is not about that."""

    class Mailman:
        def __init__(self):
            self.sent, self.answer = [], Answer(is_sent=True)

        async def deliver(self, urls, message, *, is_trouble=True):
            self.sent += [(url, message.title, is_trouble) for url in urls if self.answer.is_sent]
            return [self.answer for _ in urls]

    made = Mailman()
    monkeypatch.setattr(courier, "deliver", made.deliver)
    return made


def test_trouble_and_its_end_are_told_once_each_whatever_restarts(machine, mailman):
    machine.set("json://there.example")
    assert machine.look(CAUGHT) == 1
    assert machine.look(CAUGHT, later_s=600) == 0
    machine.restart()
    assert machine.look(CAUGHT, later_s=600) == 0
    assert machine.look(later_s=600) == 0
    assert machine.look(later_s=NOTIFY_CALM_S) == 1
    assert mailman.sent == [
        ("json://there.example", "Backup Peer on attic: 1 trouble", True),
        ("json://there.example", "Backup Peer on attic: 1 solved", False),
    ]


def test_what_could_not_be_sent_comes_later_also_after_a_restart_and_status_says_so(machine, mailman):
    machine.set("json://user:secret@nobody.example")
    mailman.answer = Answer(reason="it answered with 503")
    assert machine.look(CAUGHT) == 0
    (said,) = describe_unsent(machine.home, machine.state)
    assert said.startswith("a notification could not be sent to json since ")
    assert "secret" not in said
    mailman.answer = Answer(is_sent=True)
    machine.restart()
    assert machine.look(CAUGHT, later_s=NOTIFY_RETRY_S / 2) == 0
    assert machine.look(CAUGHT, later_s=NOTIFY_RETRY_S) == 1
    assert [title for _, title, _ in mailman.sent] == ["Backup Peer on attic: 1 trouble"]
    assert describe_unsent(machine.home, machine.state) == []


def test_one_place_that_is_away_keeps_nothing_from_the_others(machine, mailman, monkeypatch):
    machine.set("json://away.example", "json://there.example")
    answered = mailman.deliver

    async def deliver(urls, message, *, is_trouble=True):
        mailman.answer = Answer(is_sent="there" in urls[0], reason="away")
        return await answered(urls, message, is_trouble=is_trouble)

    monkeypatch.setattr(courier, "deliver", deliver)
    machine.look(CAUGHT)
    machine.look(CAUGHT, later_s=10)
    assert [url for url, _, _ in mailman.sent] == ["json://there.example"]


def test_what_waits_comes_in_its_order_as_soon_as_a_place_takes_anything_again(machine, mailman):
    machine.set("json://there.example")
    mailman.answer = Answer(reason="away")
    for number in range(4):
        machine.look(Trouble(key=str(number), text="a"))
    waiting = [each.message.title for each in read_outbox(machine.state)]
    mailman.answer = Answer(is_sent=True)
    assert machine.look(CAUGHT) == 5
    assert [title for _, title, _ in mailman.sent] == [*waiting, "Backup Peer on attic: 1 trouble"]
    assert read_outbox(machine.state) == []


def test_a_message_that_a_place_never_takes_keeps_no_other_back_and_after_two_it_is_left(machine, monkeypatch):
    tried = []

    async def deliver(urls, message, *, is_trouble=True):
        tried.append(message.body.partition(".")[0])
        return [Answer(is_sent=message.body.startswith("Fine"), reason="too long")]

    monkeypatch.setattr(courier, "deliver", deliver)
    machine.set("json://there.example")
    bad, fine = Trouble(key="bad", text="bad"), Trouble(key="fine", text="fine")
    machine.look(bad)
    machine.look(bad, fine)
    assert tried == ["Bad", "Bad", "Fine"]
    tried.clear()
    for number in range(4):
        machine.look(bad, fine, *(Trouble(key=str(n), text=f"worse {n}") for n in range(number + 1)))
    assert tried[:2] == ["Bad", "Worse 0"]
    assert len(tried) == 2 * 4


def test_without_addresses_nothing_is_looked_for_or_remembered(machine, mailman):
    assert machine.look(CAUGHT) == 0
    machine.set("json://there.example")
    assert machine.look(CAUGHT) == 1


def test_a_report_comes_each_week_where_it_is_wanted(machine, mailman):
    machine.set("json://there.example", report="weekly")
    assert machine.look() == 0
    machine.restart()
    assert machine.look(later_s=6 * 86_400) == 0
    assert machine.look(later_s=86_400) == 1
    assert machine.look(later_s=86_400) == 0
    machine.set("json://there.example", report="never")
    assert machine.look(later_s=14 * 86_400) == 0
    assert mailman.sent == [("json://there.example", "the week", False)]


def test_a_report_that_cannot_be_made_keeps_no_trouble_back_and_comes_later(machine, mailman):
    machine.set("json://there.example", report="weekly")
    machine.look()
    made = machine.teller._report

    async def fail():
        raise DamagedStateError("proven.db is damaged")

    machine.teller._report = fail
    assert machine.look(CAUGHT, later_s=8 * 86_400) == 1
    machine.teller._report = made
    assert machine.look(CAUGHT, later_s=600) == 1
    assert [title for _, title, _ in mailman.sent] == ["Backup Peer on attic: 1 trouble", "the week"]


def test_a_clock_that_is_put_back_begins_the_week_anew(machine, mailman):
    machine.set("json://there.example", report="weekly")
    machine.look()
    machine.clock.ms -= 400 * DAY_MS
    assert machine.look() == 0
    assert machine.look(later_s=7 * 86_400) == 1


def test_it_looks_again_and_again_also_after_a_look_that_failed(machine, monkeypatch):
    monkeypatch.setattr(teller, "NOTIFY_LOOK_S", 0)
    machine.set("json://there.example")

    async def scenario():
        looked = asyncio.Event()
        failures = [DamagedStateError("broken"), OSError("broken"), RuntimeError("a fault of this program")]

        async def find():
            if failures:
                raise failures.pop()
            looked.set()
            return []

        machine.teller._find = find
        running = asyncio.create_task(machine.teller.run())
        await asyncio.wait_for(looked.wait(), 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["notify.told", "notify.pending"])
@pytest.mark.parametrize("kept", [b"\xc1", b"\x01"])
def test_a_book_or_an_outbox_that_is_damaged_silences_nothing(machine, mailman, key, kept):
    machine.set("json://there.example")
    machine.look(Trouble(key="before", text="before"))
    machine.state.put_setting(key, kept)
    assert machine.look(CAUGHT) == 1
    assert machine.look(CAUGHT) == 0
    assert describe_unsent(machine.home, machine.state) == []


def test_without_apprise_status_says_what_is_missing(machine, monkeypatch):
    monkeypatch.setattr(courier, "is_available", lambda: False)
    assert describe_unsent(machine.home, machine.state) == []
    machine.set("json://there.example")
    (said,) = describe_unsent(machine.home, machine.state)
    assert "pip install apprise" in said
