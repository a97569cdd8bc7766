"""The recovery kit: what a page says, and what it never does."""

import re
import shlex
import stat
from html.parser import HTMLParser

import pytest
import segno

from backuppeer.cli.contacts import parse_contact
from backuppeer.cli.kit import Kit, first_kit
from backuppeer.cli.kit_page import draw_html, draw_text
from backuppeer.control.paper import KitHost, KitResult
from backuppeer.control.recovering import Place
from backuppeer.ids import PeerId, format_peer_id
from cli.rows import ask, run
from control.dummy import given

PEER = format_peer_id(PeerId(bytes(32)))
PLACE = Place(peer_id=PEER, transport="ab" * 32, addresses=["192.0.2.1:4433", "[2001:db8::1]:4433"])
TOLD = KitResult(
    peer_id=PEER,
    hosts=[
        KitHost(peer_id=PEER, alias="alice <b>&\x1b[31m", size_bytes=10**10, place=PLACE),
        KitHost(peer_id=PEER, alias="", size_bytes=10**9),
    ],
)
WORDS = [f"word{number}" for number in range(1, 25)]


class Seen(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def told(agent):
    return agent({"kit": given(TOLD)})


def test_a_kit_names_hosts_servers_and_a_command_that_can_be_typed(capsys, told):
    code, out, _ = run(capsys, "kit", "--server", "wss://one.example")
    assert code == 0
    command = out[out.index("  backup-peer recover") :].replace("\\\n", "")
    assert "--server wss://one.example" in command
    assert parse_contact(shlex.split(command)[-1]) == PLACE
    assert out.count("________") == 24, "no machine has the words: there is room for them"
    assert "alice <b>&\\u001b[31m" in out
    assert "stolen? Run `backup-peer recover --new-identity`" in " ".join(out.split())


def test_the_text_fits_80_columns_and_breaks_no_word_id_or_command(capsys, told):
    out = run(capsys, "kit", "--server", "wss://one.example", "--server", "wss://two.example")[1]
    longest = max((line for line in out.splitlines() if "--peer" not in line and PLACE.transport not in line), key=len)
    assert len(longest) <= 78
    assert PEER in out.splitlines()
    assert (
        "  backup-peer recover \\\n    --server wss://one.example \\\n    --server wss://two.example \\\n    --peer"
        in out
    )
    assert "`backup-peer restore latest --target DIR`" in out, "a command stays in one line"
    short = draw_text(first_kit(PEER, WORDS, ()))
    assert short.endswith("\n  backup-peer recover\n")


def test_a_page_is_for_this_user_alone_and_runs_and_fetches_nothing(capsys, told, tmp_path):
    target = tmp_path / "kit.html"
    code, lines = ask(capsys, "kit", "--to", str(target), "--server", "wss://one.example")
    assert (code, lines[-1]["hosts"], lines[-1]["has_words"]) == (0, 2, False)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    seen = Seen(target.read_text())
    names = {tag for tag, _ in seen.tags}
    assert not names & {"script", "img", "link", "iframe", "b<", "object", "embed"}
    assert not {name for _, attributes in seen.tags for name in attributes} & {"src", "href", "onload", "onclick"}
    policy = next(attributes["content"] for tag, attributes in seen.tags if "http-equiv" in attributes)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "svg" in names
    assert "alice <b>&\\u001b[31m" in seen.text


def test_the_agent_hears_that_a_kit_was_made_only_once_it_is_there(capsys, told, tmp_path):
    run(capsys, "kit", "--to", str(tmp_path / "kit.txt"))
    assert [request.is_made for route, request in told.requests if route == "kit"] == [False, True]
    told.requests.clear()
    code, _, err = run(capsys, "kit", "--to", str(tmp_path / "kit.txt"))
    assert (code, "exists already" in err) == (2, True)
    code, _, err = run(capsys, "kit", "--to", str(tmp_path / "no" / "kit.txt"))
    assert (code, "no folder" in err) == (2, True)
    assert not [request for route, request in told.requests if route == "kit"]


@pytest.mark.parametrize("draw", [draw_text, draw_html])
def test_the_kit_of_init_has_the_words_each_at_its_number(draw):
    page = draw(first_kit(PEER, WORDS, ["wss://one.example"]))
    text = Seen(page).text if draw is draw_html else page
    assert "write them here by hand" not in text
    for number, word in enumerate(WORDS, 1):
        assert f"{number}{word}" in text.replace(" ", "")


def test_init_writes_the_kit_with_the_words_that_it_showed(capsys, home, tmp_path):
    home.rmdir()
    target = tmp_path / "kit.txt"
    code, lines = ask(capsys, "init", "--yes", "--kit", str(target))
    assert code == 0
    text = target.read_text()
    assert all(f" {word}" in text for word in lines[-1]["words"].split())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_init_makes_nothing_when_the_kit_can_not_be_written(capsys, home, tmp_path):
    home.rmdir()
    code, _, err = run(capsys, "init", "--yes", "--kit", str(tmp_path / "no" / "kit.html"))
    assert (code, "no folder" in err, home.exists()) == (2, True, False)


def test_every_word_of_the_command_is_quoted_for_a_shell():
    kit = Kit(peer_id=PEER, made="", servers=["wss://a.example/$(id)"], hosts=[("x", "bp1x@k@1.2.3.4:5;true")])
    assert shlex.split(kit.command)[2:] == ["--server", "wss://a.example/$(id)", "--peer", "bp1x@k@1.2.3.4:5;true"]


def test_a_command_too_long_for_a_code_makes_a_page_without_one():
    hosts = [(f"host {number}", "x" * 200) for number in range(30)]
    page = draw_html(Kit(peer_id=PEER, made="2026-11-28", servers=[], hosts=hosts))
    assert "svg" not in {tag for tag, _ in Seen(page).tags}
    assert "x" * 200 in page


@pytest.mark.parametrize("words", [WORDS, []], ids=["words", "command"])
def test_the_code_on_the_page_is_of_the_words_or_of_the_command(words):
    made = Kit(peer_id=PEER, made="2026-11-28", servers=["wss://one.example"], hosts=[("x", "bp1x")], words=words)
    says = " ".join(WORDS) if words else "backup-peer recover --server wss://one.example --peer bp1x"
    (drawn,) = re.findall(r"<svg.*?</svg>", draw_html(made))
    assert drawn == segno.make_qr(says, error="m").svg_inline(scale=3, border=2)
    assert drawn != segno.make_qr(says + "x", error="m").svg_inline(scale=3, border=2)


def test_a_program_is_told_what_was_made_and_never_the_words(capsys, told, tmp_path):
    target = tmp_path / "kit.txt"
    code, lines = ask(capsys, "kit", "--to", str(target), "--server", "wss://one.example")
    done = lines[-1]
    assert (code, done["target"], done["peer_id"], done["text"]) == (0, str(target), PEER, "")
    assert (done["peers"], done["servers"], done["hosts"]) == ([PEER, PEER], ["wss://one.example"], 2)
    assert done["command"].startswith("backup-peer recover --server wss://one.example --peer 'bp1")
    assert "words" not in done
    shown = ask(capsys, "kit")[1][-1]
    assert shown["text"].startswith("RECOVERY KIT")
