"""The words of a notification: whole, short, and nobody's paint."""

from backuppeer.agent.notifications.message import clean_line, write_message
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.limits import NOTIFY_BODY_CHARS, NOTIFY_LINE_CHARS, NOTIFY_LINES


def test_it_says_what_happened_and_what_to_do():
    caught = Trouble(key="k", text="alice was caught on 2026-11-29", fix="`backup-peer repair` there")
    message = write_message("attic", [caught], ["bob has lost 2 packs"])
    assert message.title == "Backup Peer on attic: 1 trouble, 1 solved"
    assert message.body == (
        "Alice was caught on 2026-11-29.\n→ `backup-peer repair` there\n\nSolved: bob has lost 2 packs\n\n"
        "Commands are typed on that machine; `backup-peer status` there has all of it."
    )


def test_text_of_peers_paints_nothing_and_calls_nobody():
    assert clean_line("a\x1b[31mb\nc\u202ed @everyone https://evil.example") == (
        "a [31mb c d (at)everyone https: //evil.example"
    )


def test_a_line_and_a_message_have_an_end():
    assert len(clean_line("x" * 5000)) == NOTIFY_LINE_CHARS
    many = [Trouble(key=str(number), text="t" * 300, fix="f" * 300) for number in range(NOTIFY_LINES + 40)]
    message = write_message("attic", many, [trouble.text for trouble in many])
    assert len(message.body) <= NOTIFY_BODY_CHARS
    assert message.body.endswith(
        "\n\n…\n\nCommands are typed on that machine; `backup-peer status` there has all of it."
    )
    few = write_message("attic", [Trouble(key=str(n), text="short") for n in range(NOTIFY_LINES + 2)], [])
    assert "… and 2 more." in few.body
