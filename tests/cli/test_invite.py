"""What `invite` and `connect INVITE` say, and how an invite gets in and out."""

import io

import msgspec
import pytest
import segno

from backuppeer.cli.invite import draw_code
from backuppeer.control.api import HostingState, HostPlan, StatusResult
from backuppeer.control.events import Agreed
from backuppeer.control.inviting import CodeToSay, InviteMade, InviteOpened, InviteRow, InviteSpoken, InviteUse
from backuppeer.errors import AuthenticationFault
from backuppeer.ids import PeerId
from backuppeer.signaling.invite import Invite, format_invite
from cli.rows import CONNECTED, OFFERED, PENDING, PLAN, WORDS, event, run
from cli.terminal import FakePipe, FakeTerminal, check_output
from control.dummy import PEER, given, telling

TEXT = "bpi1" + "q" * 91
MADE = InviteMade(
    invite_id="c8e0ccd5" * 2,
    invite=TEXT,
    peer_id=PEER,
    name="alice",
    uses=1,
    storage_bytes=20 * 10**9,
    expires="2026-11-29T19:15:00Z",
    servers=["wss://one.example"],
    unlisted=True,
)
USE = InviteUse(peer_id=PEER, alias="alice", time="2026-11-28T19:15:00Z", agreed=True)
ROW = InviteRow(
    invite_id=MADE.invite_id,
    name="alice",
    state="used up",
    uses=1,
    used=[USE],
    storage_bytes=20 * 10**9,
    created="2026-11-28T19:15:00Z",
    expires=MADE.expires,
)
PLANNED = HostPlan(listed_bytes=0, agreed_bytes=0)
OPENED = InviteOpened(peer_id=PEER, storage_bytes=20 * 10**9)


def words(capsys, verb, *more):
    """Return what a verb of the group prints with --json, checked against its schema."""
    code, out, _ = run(capsys, *verb.split(), *more, "--json")
    assert code == 0
    return check_output(verb, out)


def connecting(opened=OPENED):
    return {"invite/open": given(opened), "connect/plan": given(PLAN), "connect": telling([], CONNECTED)}


def test_the_invite_alone_is_on_standard_output_to_be_sent_on(capsys, agent):
    dummy = agent({"invite/create": given(MADE)})
    code, out, err = run(capsys, "invite", "create", "--storage", "20GB", "--name", "alice", "--expires", "2h")
    assert (code, out) == (0, f"{TEXT}\n")
    text = " ".join(err.split())
    assert "an invite for alice to your unlisted slot: 20 GB, once, until 2026-11-29" in text
    assert "`backup-peer connect -` on the other machine" in text
    assert "`backup-peer invite revoke c8e0ccd5" in text
    request = dummy.requests[-1][1]
    assert (request.storage, request.uses, request.expires_s, request.name) == (20 * 10**9, 1, 7200, "alice")


def test_a_note_that_space_may_run_out_is_told(capsys, agent):
    agent({"invite/create": given(msgspec.structs.replace(MADE, uses=3, note="3 times is more", unlisted=False))})
    err = run(capsys, "invite", "create", "--uses", "3")[2]
    assert "to your slot: 20 GB, 3 times" in err
    assert "3 times is more" in err


def test_with_json_everything_is_in_one_line(capsys, agent):
    agent({"invite/create": given(MADE)})
    assert words(capsys, "invite create") == [{"event": "done", **msgspec.to_builtins(MADE)}]


@pytest.mark.parametrize("is_inverted", [False, True])
def test_the_code_that_is_drawn_is_the_code_of_the_invite(is_inverted):
    rows = list(draw_code(TEXT, columns=80, is_inverted=is_inverted))
    halves = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    drawn = [[halves[sign][half] for sign in row] for row in rows for half in (0, 1)]
    wanted = [list(row) for row in segno.make_qr(TEXT.upper(), error="l").matrix_iter(border=2)]
    assert [[bit ^ is_inverted for bit in row] for row in drawn][: len(wanted)] == wanted
    assert len(rows) <= 24, "it stands on a screen of usual height"


def shown_by_create(capsys, agent, monkeypatch, *, columns, rows, text=TEXT):
    """Return the lines that a person sees after `invite create`, both streams as they come."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    shown = FakeTerminal()
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setattr("sys.stderr", shown)
    dummy = agent({"invite/create": given(msgspec.structs.replace(MADE, invite=text))})
    assert run(capsys, "invite", "create")[0] == 0
    dummy.stop()
    return shown.getvalue().splitlines()


@pytest.mark.parametrize("text", [TEXT, TEXT + "q" * 32], ids=["usual", "with a server"])
def test_a_window_of_usual_height_shows_all_of_the_code_and_of_the_text(capsys, agent, monkeypatch, text):
    lines = shown_by_create(capsys, agent, monkeypatch, columns=80, rows=24, text=text)
    drawn = [number for number, line in enumerate(lines) if "\x1b[30;107m" in line]
    assert (lines[-1], drawn[-1]) == (text, len(lines) - 2)
    assert len(drawn) + 2 < 24, "the text takes two lines, and the prompt one"
    assert lines.count(text) == 1


def test_a_window_too_low_or_too_narrow_for_the_code_is_told(capsys, agent, monkeypatch):
    low = shown_by_create(capsys, agent, monkeypatch, columns=80, rows=21)
    assert "make the window taller: 22 lines" in low[-2]
    assert "taller" not in shown_by_create(capsys, agent, monkeypatch, columns=80, rows=22)[-2]
    narrow = shown_by_create(capsys, agent, monkeypatch, columns=40, rows=24, text=TEXT + "q" * 32)
    assert "a wider window shows a QR code" in narrow[-2]
    assert narrow[-1] == TEXT + "q" * 32


def test_a_code_too_wide_for_the_terminal_is_not_drawn():
    assert list(draw_code(TEXT, columns=36)) == []


def test_the_list_tells_who_came(capsys, agent):
    agent({"invite": given([ROW, msgspec.structs.replace(ROW, used=[msgspec.structs.replace(USE, agreed=False)])])})
    code, out, _ = run(capsys, "invite", "list")
    assert code == 0
    assert "c8e0ccd5  alice  used up   1/1  20 GB" in out
    assert "has space here" in out
    assert "came, and has agreed to nothing yet" in out
    assert words(capsys, "invite list")[0][0]["state"] == "used up"


def test_without_any_it_says_how_to_make_one_in_this_home(capsys, agent, home):
    agent({"invite": given([])})
    assert f"`backup-peer invite create --home {home}`" in run(capsys, "invite")[1]


def test_revoking_says_that_agreements_stand(capsys, agent):
    dummy = agent({"invite/revoke": given(msgspec.structs.replace(ROW, state="revoked"))})
    code, out, _ = run(capsys, "invite", "revoke", "alice")
    assert code == 0
    assert "invite c8e0ccd5 for alice is taken back" in out
    assert "1 agreement that came of it stands" in out
    assert dummy.requests[-1][1].invite == "alice"
    assert words(capsys, "invite revoke", "alice")[-1]["state"] == "revoked"


def test_connect_takes_an_invite_and_asks_for_what_it_gives(capsys, agent):
    dummy = agent(connecting())
    code, _, err = run(capsys, "connect", TEXT, "--yes", "--name", "bob")
    assert code == 0
    assert "gives you up to 20 GB there, without a question" in err
    asked = dict(dummy.requests)
    assert asked["invite/open"].text == TEXT
    assert (asked["connect"].peer, asked["connect"].storage, asked["connect"].verified) == (PEER, 20 * 10**9, False)


def test_words_are_to_be_compared_when_the_other_screen_shows_them(capsys, agent):
    stop = "the other screen must show the same words; if they differ, stop"
    for typed, opened, said in (
        (TEXT, OPENED, "the other screen shows them once you are connected: compare them then"),
        ("7-abandon-ability", msgspec.structs.replace(OPENED, verified=True), "nothing to compare: who told you the"),
        (PEER, OPENED, stop),
    ):
        dummy = agent(connecting(opened))
        code, _, err = run(capsys, "connect", typed, "--yes", "--storage", "1GB")
        text = " ".join(err.split())
        assert (code, said in text, stop in text) == (0, True, said == stop)
        dummy.stop()


def test_who_has_space_there_already_is_promised_no_more(capsys, agent):
    routes = connecting(msgspec.structs.replace(OPENED, agreed=True))
    agent(routes | {"connect/plan": given(msgspec.structs.replace(PLAN, agreed=True))})
    code, _, err = run(capsys, "connect", TEXT, "--yes")
    assert (code, "you have space there already" in err, "gives you up to" in err) == (0, True, False)


def test_an_invite_is_read_from_standard_input_where_nobody_else_on_the_machine_sees_it(capsys, agent, monkeypatch):
    dummy = agent(connecting())
    monkeypatch.setattr("sys.stdin", FakePipe(f"{TEXT[:50]}\n  {TEXT[50:].upper()}\n"))
    assert run(capsys, "connect", "-", "--storage", "1GB", "--yes")[0] == 0
    asked = dict(dummy.requests)
    assert "".join(asked["invite/open"].text.split()).lower() == TEXT
    assert asked["connect"].storage == 10**9


def test_on_a_terminal_it_is_asked_for(capsys, agent, terminal):
    dummy = agent(connecting())
    shown = terminal(f"{TEXT}\n")
    assert run(capsys, "connect", "-", "--yes")[0] == 0
    assert "invite: " in shown.getvalue()
    assert dict(dummy.requests)["invite/open"].text == TEXT


def test_an_invite_that_a_mail_broke_over_lines_is_pasted_as_it_stands(capsys, agent, terminal):
    whole = format_invite(Invite(PeerId(bytes(range(32))), b"0123456789abcdef", 1_795_000_000, ("ws://one.example",)))
    dummy = agent(connecting())
    shown = terminal(f"{whole[:76]}\n {whole[76:]}\nls\n")
    assert run(capsys, "connect", "-", "--yes")[0] == 0
    assert "".join(dict(dummy.requests)["invite/open"].text.split()) == whole, "and what follows is not of it"
    assert "76 characters so far, go on (an empty line ends it): " in shown.getvalue()


def test_an_empty_line_ends_an_invite_that_does_not_become_whole(capsys, agent, terminal):
    dummy = agent(connecting())
    terminal(f"{TEXT[:50]}\n{TEXT[50:]}\n\nls\n")
    assert run(capsys, "connect", "-", "--yes")[0] == 0
    assert dict(dummy.requests)["invite/open"].text.split() == [TEXT[:50], TEXT[50:]]


def test_to_ask_for_more_than_it_gives_is_refused_before_anybody_is_asked(capsys, agent):
    dummy = agent(connecting())
    code, _, err = run(capsys, "connect", TEXT, "--storage", "21GB", "--yes")
    assert (code, "gives 20 GB, not 21 GB" in err) == (2, True)
    assert [route for route, _ in dummy.requests] == ["invite/open"]


def test_where_it_does_not_say_how_much_the_size_must_be_named(capsys, agent):
    agent(connecting(InviteOpened(peer_id=PEER, storage_bytes=0)))
    assert run(capsys, "connect", TEXT, "--yes")[0] == 2
    assert run(capsys, "connect", TEXT, "--yes", "--storage", "1GB")[0] == 0


def test_another_peer_at_its_place_is_code_12(capsys, agent):
    async def serve(request, emit):
        raise AuthenticationFault("another peer shows itself", hint="tell its person")

    agent({"invite/open": serve})
    assert run(capsys, "connect", TEXT, "--yes")[0] == 12


def test_the_host_view_shows_the_words_of_who_came_by_an_invite(capsys, agent):
    came = Agreed(peer_id=PEER, alias="alice", quota_bytes=10**9, invite="alice", safety_words=WORDS)
    unlisted = msgspec.structs.replace(OFFERED, unlisted=True)
    events = [event("offered", unlisted), event("agreed", came)]
    agent({"host/plan": given(PLANNED), "host": telling(events, unlisted)})
    code, out, err = run(capsys, "host", "--storage", "50GB", "--unlisted", "--yes")
    assert code == 0
    assert "no server lists it" in err
    assert "offering 50 GB unlisted, by way of 1 server" in out
    assert "`backup-peer invite create" in out
    assert "has 1 GB here now, by the invite alice" in out
    assert f"safety words  {WORDS}" in " ".join(out.split()).replace("words ", "words  ")


def test_requests_say_by_which_invite_somebody_came(capsys, agent):
    agent({"requests": given([msgspec.structs.replace(PENDING, state="agreed", invite="alice")])})
    assert "r7f3a came by the invite alice" in run(capsys, "requests")[1]


def test_nothing_typed_is_not_taken_for_an_invite(capsys, agent, monkeypatch):
    dummy = agent({})
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(capsys, "connect", "bpx1nobody", "--yes")[0] == 2
    assert dummy.requests == []


SPOKEN = InviteSpoken(invite_id=MADE.invite_id, peer_id=PEER, alias="alice", storage_bytes=10**9)
TO_SAY = CodeToSay(code="7-abandon-ability", expires="2026-11-28T19:25:00Z")


def test_a_spoken_code_is_shown_and_waited_for(capsys, agent):
    dummy = agent({"invite/speak": telling([event("code", TO_SAY)], SPOKEN)})
    code, out, err = run(capsys, "invite", "create", "--spoken", "--storage", "1GB", "--name", "alice")
    assert code == 0
    assert "    7-abandon-ability\n" in err
    assert "works once" in err
    assert "said it: a friend now, who may have 1 GB here" in out
    assert dummy.requests[-1][1].storage == 10**9
    code, out, _ = run(capsys, "invite", "create", "--spoken", "--json")
    lines = check_output("invite create --spoken", out)
    assert [line["event"] for line in lines] == ["code", "done"]
    assert lines[0]["code"] == "7-abandon-ability"


def test_who_has_space_already_gets_no_more_by_a_code(capsys, agent):
    had = msgspec.structs.replace(SPOKEN, agreed_bytes=2 * 10**9)
    agent({"invite/speak": telling([event("code", TO_SAY)], had)})
    out = run(capsys, "invite", "create", "--spoken", "--storage", "1GB")[1]
    assert "a friend now, who has 2 GB here already: the code gives no more" in " ".join(out.split())


def test_half_a_code_is_known_as_that(capsys, agent):
    agent({})
    code, _, err = run(capsys, "connect", "7-abandon", "--yes")
    assert (code, "7-abandon is a spoken code without its second word" in " ".join(err.split())) == (2, True)


def test_a_spoken_code_lives_ten_minutes_whatever_is_wanted(capsys, agent):
    agent({})
    assert run(capsys, "invite", "create", "--spoken", "--expires", "2h")[0] == 2


@pytest.mark.parametrize("typed", ["7-abandon-ability", "7 ABANDON ability"])
def test_connect_says_a_code_and_counts_its_host_as_verified(capsys, agent, typed):
    dummy = agent(connecting(msgspec.structs.replace(OPENED, verified=True)))
    code, out, err = run(capsys, "connect", typed, "--yes", "--storage", "1GB")
    assert code == 0
    assert "the words are the same on both sides" in err
    assert "peers verify" not in out
    asked = dict(dummy.requests)
    assert asked["invite/open"].text == typed
    assert asked["connect"].verified


def test_who_withdraws_is_told_that_invites_lead_nowhere(capsys, agent):
    status = StatusResult(peer_id=PEER, agent="", servers=[], sessions=0, hosting=HostingState(), snapshots=0)
    agent({"host/stop": given(HostingState(invites=2)), "status": given(status)})
    assert "2 live invites lead nowhere" in run(capsys, "host", "--stop")[1]


def test_status_says_that_the_slot_is_unlisted_and_how_many_invites_are_live(capsys, agent):
    hosting = HostingState(offering=True, storage_bytes=5 * 10**9, unlisted=True)
    for invites, said in (
        (0, "no invite to it is live"),
        (1, "1 invite to it is live"),
        (2, "2 invites to it are live"),
    ):
        state = msgspec.structs.replace(hosting, invites=invites)
        told = StatusResult(peer_id=PEER, agent="", servers=[], sessions=0, hosting=state, snapshots=0)
        agent({"status": given(told)})
        out = " ".join(run(capsys, "status")[1].split())
        assert f"offering 5 GB unlisted; {said}" in out
