import errno
import json
import re
from contextlib import contextmanager
from types import SimpleNamespace

import msgspec
import pytest

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import recover_identity
from backuppeer.cli import homes
from backuppeer.cli.agents import client_of
from backuppeer.cli.main import main
from backuppeer.control.events import Progress, State
from backuppeer.control.recovering import Place, RecoverResult, WitnessRow
from backuppeer.crypto.words import encode_words
from backuppeer.errors import UserError
from backuppeer.ids import PeerId, format_peer_id
from cli.rows import STATES, ask, event, run
from cli.terminal import FakePipe, FakeTerminal
from control.dummy import PEER, Dummy, given, telling


# --- init, id, recover
def test_init_with_yes_prints_the_words_and_id_agrees(capsys, home):
    code, lines = ask(capsys, "init", "--yes")
    assert code == 0
    assert len(lines[-1]["words"].split()) == 24
    assert ask(capsys, "id")[1] == [{"peer_id": lines[-1]["peer_id"]}]
    assert run(capsys, "init", "--yes")[0] == 2
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    # One of the 2,048 is the name of a field of the writer's grant.
    telling = [word for word in lines[-1]["words"].split() if len(word) > 5 and word != "device"]
    assert not any(word.encode() in kept for word in telling)


def test_init_without_terminal_and_without_yes_exits_2_and_makes_nothing(capsys, home):
    assert run(capsys, "init")[0] == 2
    assert list(home.iterdir()) == []


def test_init_shows_numbered_words_and_asks_for_two_of_them(capsys, home, terminal, monkeypatch):
    shown = terminal()
    words = {}

    def answer(self, prompt):
        out = capsys.readouterr().out
        tokens = out.split("never again.")[-1].split()
        words.update(zip(tokens[::2], tokens[1::2], strict=False))
        return words[prompt.removeprefix("word ").partition(",")[0]]

    monkeypatch.setattr("backuppeer.cli.screen.Screen.read_answer", answer)
    assert main(["init"]) == 0
    assert len(words) == 24
    said = shown.getvalue().split()
    assert said[:9] == ["Now", "type", "two", "of", "them", "from", "your", "paper,", "not"]
    told = "Now type two of them from your paper, not from the screen: that shows whether it can be read one day."
    assert " ".join(said).replace(told, "") == "", "no word is shown again"


@pytest.mark.parametrize(("columns", "in_a_row"), [(80, 4), (68, 4), (60, 3), (40, 2)])
def test_the_words_stand_in_as_many_columns_as_fit_and_are_never_broken(terminal, monkeypatch, columns, in_a_row):
    terminal()
    out = FakeTerminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["init", "--yes"]) == 0
    rows = [line for line in out.getvalue().splitlines() if re.match(r" +[0-9]+ [a-z]+", line)]
    assert len(rows) == 24 / in_a_row
    assert max(map(len, rows)) <= columns
    assert "\n\n\n" not in out.getvalue()
    assert "clear this terminal" in " ".join(out.getvalue().split())


def test_init_with_wrong_answers_makes_nothing(capsys, home, terminal):
    terminal("no\nno\nno\n")
    assert run(capsys, "init")[0] == 2
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("verb", [["init", "--yes"], ["status"], ["id"], ["recover", "--yes"], ["agent", "status"]])
def test_a_home_that_is_a_file_is_refused_before_any_words(capsys, tmp_path, verb):
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        code, out, err = run(capsys, *verb, "--home", str(tmp_path / place))
        assert (code, out) == (2, "")
        assert "is a file" in err


@pytest.mark.parametrize("verb", [["init", "--yes"], ["recover", "--yes"]])
def test_a_home_that_can_not_be_written_is_refused_before_any_words(capsys, tmp_path, monkeypatch, verb):
    monkeypatch.setattr("os.access", lambda path, _: path != tmp_path)
    code, out, err = run(capsys, *verb, "--home", str(tmp_path / "new" / "home"))
    assert (code, out) == (1, "")
    assert "unexpected" not in err
    assert "ermission denied" in err
    assert "--home DIR" in err


def test_a_home_that_can_not_be_looked_into_is_told_apart_from_none(capsys, home, monkeypatch):
    def deny(self, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.stat", deny)
    code, _, err = run(capsys, "status")
    assert code == 1
    assert "unexpected" not in err


def test_init_does_not_count_an_empty_line_as_an_answer(capsys, home, terminal):
    shown = terminal("\n" * 10 + "no\n\nno\n\nno\n")
    code, _, _ = run(capsys, "init")
    assert code == 2
    assert shown.getvalue().count("that is not the word") == 3
    assert "24 words above are void" in " ".join(shown.getvalue().split())


def test_init_ends_when_its_input_does(capsys, home, terminal):
    terminal("")
    assert run(capsys, "init")[0] == 2
    assert list(home.iterdir()) == []


def test_ctrl_c_at_the_words_voids_them_on_a_line_of_its_own(capsys, home, terminal, monkeypatch):
    shown = terminal()

    def press_ctrl_c():
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin.readline", press_ctrl_c)
    assert run(capsys, "init")[0] == 130
    assert "from your paper: \n" in shown.getvalue()
    assert "void" in shown.getvalue()
    assert list(home.iterdir()) == []


def test_wrong_words_can_be_typed_again_twice(capsys, home, agent, terminal, monkeypatch):
    right = encode_words(bytes(32))
    agent({"recover": telling([], RECOVERED)})
    shown = terminal()
    typed = iter([right.replace("art", "atr"), "abandon abandon", "", right, *["no", ""] * 3])
    monkeypatch.setattr("backuppeer.cli.wording.read_hidden", lambda _: next(typed))
    assert run(capsys, "recover")[0] == 0
    assert "word 24 is not in the list" in shown.getvalue()
    assert "2 words, not 24" in shown.getvalue()
    code, out, _ = run(capsys, "recover", "--home", str(home / "other"))
    assert (code, out) == (2, "")
    assert next(typed, None) is None
    assert not (home / "other").exists()


def test_words_are_taken_line_by_line_with_the_numbers_of_a_kit(capsys, home, agent, terminal, monkeypatch):
    words = encode_words(bytes(32)).split()
    agent({"recover": telling([], RECOVERED)})
    terminal()
    lines = iter(" ".join(f"{n + 1}. {words[n]}" for n in range(at, at + 6)) for at in range(0, 24, 6))
    monkeypatch.setattr("backuppeer.cli.wording.read_hidden", lambda _: next(lines))
    assert run(capsys, "recover")[0] == 0
    assert next(lines, None) is None


HOST = format_peer_id(PeerId(bytes(range(32))))
RECOVERED = RecoverResult(peer_id=PEER, peers=[PEER], snapshots=3, packs=9, head=4, notes=["one host is late"])


def test_recover_reads_words_from_standard_input_and_gives_the_same_identity(
    capsys, home, agent, tmp_path, monkeypatch
):
    code, lines = ask(capsys, "init", "--yes", "--home", str(tmp_path / "old"))
    assert code == 0
    made = lines[-1]
    dummy = agent({"recover": telling(STATES[:1], RECOVERED)})
    for _ in range(2):  # again with the same words goes on
        monkeypatch.setattr("sys.stdin", FakePipe(made["words"].upper() + "\n"))
        code, lines = ask(capsys, "recover", "--yes", "--peer", HOST.upper(), "--peer", HOST)
        assert (code, lines[-1]["snapshots"]) == (0, 3)
    monkeypatch.setattr("sys.stdin", FakePipe(made["words"]))
    assert run(capsys, "recover", "--yes")[1].splitlines()[-1].startswith("  this home may only read")
    assert dummy.requests[0][1].peers == [HOST, HOST]
    assert ask(capsys, "id")[1] == [{"peer_id": made["peer_id"]}]


@pytest.mark.parametrize("peer", [f"{HOST}@192.0.2.1:5", HOST[:-1] + "x", "alice", ""])
def test_recover_refuses_a_host_that_is_not_named_by_its_id_before_anything_is_made(capsys, home, monkeypatch, peer):
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(bytes(32))))
    assert run(capsys, "recover", "--yes", "--peer", peer)[0] == 2
    assert list(home.iterdir()) == []


def test_recover_says_that_it_needs_the_whole_id_of_a_host(capsys, home, monkeypatch):
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(bytes(32))))
    code, _, err = run(capsys, "recover", "--yes", "--peer", HOST[:13])
    assert code == 2
    assert "only the start of an id" in err
    assert "all 61 characters" in err


def test_a_machine_that_only_keeps_backups_of_others_is_told_that_it_is_whole(capsys, home, agent, terminal):
    recover_identity(Home(home), bytes(32))
    alone = RecoverResult(peer_id=PEER, peers=[], snapshots=0, packs=0, head=0, notes=["one is silent"], alone=True)
    agent({"recover": telling([], alone)})
    terminal("")
    code, out, _ = run(capsys, "recover")
    assert code == 0
    assert "this machine keeps backups of others; nobody was found who keeps any of yours" in out
    assert "one is silent" in out
    assert "snapshots" not in out


def test_a_recovery_that_is_not_finished_goes_on_without_the_words(capsys, home, agent, monkeypatch, terminal):
    made = recover_identity(Home(home), bytes(32))
    dummy = agent({"recover": telling([], RECOVERED)})
    terminal("")
    monkeypatch.setattr("backuppeer.cli.wording.read_hidden", lambda _: pytest.fail("the words were asked for"))
    code, out, _ = run(capsys, "recover")
    assert code == 0
    assert f"identity: {format_peer_id(made)}" in out
    monkeypatch.setattr("sys.stdin", FakePipe(""))
    assert run(capsys, "recover", "--yes")[0] == run(capsys, "recover")[0] == 0
    assert len(dummy.requests) == 3


def test_words_of_another_identity_are_refused_also_by_a_recovery_that_is_not_finished(capsys, home, monkeypatch):
    recover_identity(Home(home), bytes(32))
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(b"2" * 32)))
    assert run(capsys, "recover", "--yes")[0] == 12


def test_who_keeps_backups_is_told_beside_the_count_of_hosts_asked(capsys, home, agent, terminal):
    recover_identity(Home(home), bytes(32))
    asking = {"phase": "asking hosts", "unit": "host", "files_total": 2}
    agent(
        {
            "recover": telling(
                [
                    event("progress", Progress(**asking)),
                    event("state", State(state="connected", text="bp1x keeps backups of yours")),
                    event("progress", Progress(**asking, files=1, current="waiting for bp1y")),
                ],
                RECOVERED,
            )
        }
    )
    shown = terminal("")
    assert run(capsys, "recover")[0] == 0
    assert " asking hosts  0 of 2 hosts" in shown.getvalue()
    assert "✓\x1b[0m bp1x keeps backups of yours\n" in shown.getvalue()
    assert "asking hosts  1 of 2 hosts · waiting for bp1y" in shown.getvalue()


def test_recover_refuses_bad_words_and_another_identity(capsys, home, agent, monkeypatch):
    agent({"recover": telling([], RECOVERED)})
    for typed in ("", "one two three", "zoo " * 24):
        monkeypatch.setattr("sys.stdin", FakePipe(typed))
        assert run(capsys, "recover", "--yes")[0] == 2
    assert not (home / "keys").exists()
    assert run(capsys, "init", "--yes")[0] == 0
    capsys.readouterr()
    _, out, _ = run(capsys, "init", "--yes", "--json", "--home", str(home.parent / "other"))
    monkeypatch.setattr("sys.stdin", FakePipe(json.loads(out)["words"]))
    code, _, err = run(capsys, "recover", "--yes")
    assert code == 12
    assert "the words of another identity" in err
    assert "--home DIR" in err


def test_recover_without_terminal_needs_yes_and_never_takes_words_as_arguments(capsys, home, monkeypatch):
    monkeypatch.setattr("sys.stdin", FakePipe("zoo " * 24))
    assert run(capsys, "recover")[0] == 2
    assert run(capsys, "recover", *("zoo " * 24).split())[0] == 2


def test_id_with_where_says_what_recover_takes_and_no_address_is_an_error(capsys, home, agent):
    recover_identity(Home(home), bytes(32))
    place = Place(peer_id=HOST, transport="ab" * 32, addresses=["192.0.2.7:4433", "[2001:db8::1]:5"])
    agent({"where": given(place)})
    code, lines = ask(capsys, "id", "--where")
    contact = f"{HOST}@{'ab' * 32}@192.0.2.7:4433,[2001:db8::1]:5"
    assert (code, lines) == (0, [{"peer_id": HOST, "where": contact}])
    assert run(capsys, "id", "--where")[1] == f"{contact}\n"


def test_id_with_where_on_a_machine_that_nobody_could_dial_says_so(capsys, home, agent):
    recover_identity(Home(home), bytes(32))
    agent({"where": given(Place(peer_id=HOST, transport="ab" * 32, addresses=[]))})
    assert run(capsys, "id", "--where")[0] == 11


def test_recover_says_which_state_each_host_holds_and_passes_places_on(capsys, home, agent, monkeypatch):
    rows = [
        WitnessRow(peer_id=HOST, alias="alice", heard=True, head=4),
        WitnessRow(peer_id=PEER, alias="", heard=True, head=0),
        WitnessRow(peer_id=PEER, alias="gone", heard=False, head=3, time="2026-11-28T10:00:00Z"),
    ]
    result = RecoverResult(
        peer_id=PEER, peers=[HOST], snapshots=3, packs=9, head=4, notes=["gone was not heard"], witnesses=rows
    )
    dummy = agent({"recover": telling([], result)})
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(bytes(32))))
    contact = f"{HOST}@{'ab' * 32}@192.0.2.7:4433"
    code, out, _ = run(capsys, "recover", "--yes", "--all", "--peer", contact, "--peer", HOST)
    assert code == 0
    assert "  alice holds head 4\n" in out
    assert "holds no backup yet\n" in out
    assert "  gone was not heard\n" in out
    assert "gone holds" not in out
    request = dummy.requests[0][1]
    assert (request.all, request.check, request.peers) == (True, False, [HOST, HOST])
    assert request.places == [Place(peer_id=HOST, transport="ab" * 32, addresses=["192.0.2.7:4433"])]


def test_recover_names_a_restore_of_each_set_since_latest_is_of_one(capsys, home, agent, monkeypatch):
    sets = ["", "default", "old 'photos'", *(f"set{number}" for number in range(8))]
    dummy = agent({"recover": telling([], msgspec.structs.replace(RECOVERED, sets=sets))})
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(bytes(32))))
    code, out, _ = run(capsys, "recover", "--yes")
    assert code == 0
    assert f"`backup-peer restore latest --set default --target DIR --home {home}`" in out
    assert """--set 'old '"'"'photos'"'"'' --target DIR""" in out
    assert (
        out.count("restore latest --set"),
        "2 more and what is of no set: `backup-peer snapshots" in out,
        "set6" in out,
    ) == (8, True, False)
    dummy.stop()
    agent({"recover": telling([], msgspec.structs.replace(RECOVERED, sets=["default"]))})
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(bytes(32))))
    out = run(capsys, "recover", "--yes")[1]
    assert "`backup-peer restore latest --target DIR" in out
    assert "--set" not in out


@pytest.mark.parametrize(("unheard", "code"), [([], 0), ([HOST], 3)])
def test_a_check_of_the_words_ends_with_3_when_a_host_was_not_heard(capsys, home, monkeypatch, unheard, code):
    result = RecoverResult(peer_id=PEER, peers=[PEER], snapshots=3, packs=9, head=4, notes=[], unheard=unheard)

    @contextmanager
    def passing(master):
        assert master == bytes(32)
        with Dummy(home / "agent.sock", {"recover": telling([], result)}):
            yield SimpleNamespace(peer_id=PEER, client=lambda: client_of(Home(home)))

    monkeypatch.setattr("backuppeer.cli.rehearsal.passing_home", passing)
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(bytes(32))))
    ended, out, _ = run(capsys, "recover", "--check", "--yes")
    assert ended == code
    assert ("1 host could not be heard" in out) == bool(unheard)
    assert "nothing was changed" in out
    assert not (home / "keys").exists()


def test_a_check_with_the_words_of_another_identity_says_so_where_the_home_has_one(capsys, home, monkeypatch):
    home.rmdir()
    homes.create_peer(Home(home), bytes(32))
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(b"x" * 32)))
    code, _, err = run(capsys, "recover", "--check", "--yes")
    assert code == 12
    assert "these are the words of another identity than that of" in err


def test_of_two_inits_at_once_one_wins_and_the_other_says_that_its_words_are_void(capsys, home, monkeypatch):
    home.rmdir()
    create = homes.create_peer
    other = []

    def beaten(where, master):
        other.append(create(where, bytes(32)))
        return create(where, master)

    with monkeypatch.context() as patch:
        patch.setattr(homes, "create_peer", beaten)
        code, _, err = run(capsys, "init", "--yes")
    assert code == 2
    assert "made meanwhile by another command: the 24 words above are void" in err
    assert ask(capsys, "id")[1] == [{"peer_id": other[0]}], "whole, of the one that was faster"


def test_an_identity_is_not_made_beside_another_that_is_being_made(home):
    with Home(home).lock() as is_ours:
        assert is_ours
        with pytest.raises(UserError, match="another command uses"):
            homes.create_peer(Home(home), bytes(32))
    assert not Home(home).exists_identity
