"""`audit verify-proof`: what it says, to people and to programs."""

import subprocess
import sys

import msgspec
import pytest
from court import STORED, Court

from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import PROOF_BYTES
from backuppeer.proof.charges import Rebuttal, pack_charge, pack_rebuttal
from cli.rows import run
from cli.terminal import check_output

COURT = Court()
CHARGES = COURT.charges()
HOST, OWNER = (format_peer_id(PeerId(key.public)) for key in (COURT.host, COURT.owner))


@pytest.fixture
def proofs(tmp_path, monkeypatch):
    """A folder with a proof of each crime, one that proves nothing, and a rebuttal; a home that isn't there."""
    monkeypatch.setenv("BACKUPPEER_HOME", str(tmp_path / "nowhere"))
    for name, charge in CHARGES.items():
        (tmp_path / name).write_bytes(pack_charge(charge))
    (tmp_path / "nothing").write_bytes(pack_charge(msgspec.structs.replace(CHARGES["lost-pack"], lost=[b"z" * 32])))
    (tmp_path / "nobody").write_bytes(pack_charge(msgspec.structs.replace(CHARGES["lost-pack"], agreements=[b"x"])))
    (tmp_path / "answer").write_bytes(pack_rebuttal(Rebuttal(removals=[COURT.delete(9), COURT.delete(6)])))
    (tmp_path / "excuse").write_bytes(pack_rebuttal(Rebuttal(removals=[COURT.delete(9)])))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("crime", CHARGES)
def test_a_proof_says_who_is_accused_by_whom_of_what_since_when(capsys, proofs, crime):
    code, out, err = run(capsys, "audit", "verify-proof", crime)
    assert code == 0
    assert out.startswith("✓ proven: ")
    assert f"accused host  {HOST}\n" in out
    assert f"by the owner  {OWNER}\n" in out
    assert out.count("by the host's clock\n") == 2
    assert (STORED.hex() in out) == (crime in {"wrong-answer", "lost-pack"})
    assert "hint: an id is a key, not a person" in err
    assert not (proofs / "nowhere").exists()


@pytest.mark.parametrize("crime", CHARGES)
def test_programs_get_the_verdict_as_one_value(capsys, proofs, crime):
    code, out, err = run(capsys, "audit", "verify-proof", crime, "--json")
    [told] = check_output("audit verify-proof", out)
    assert (code, err) == (0, "")
    assert (told["proven"], told["crime"], told["host"], told["owner"]) == (True, crime, HOST, OWNER)
    assert told["promised"] < told["broken"] or crime == "two-heads"


def test_what_proves_nothing_ends_with_15_and_the_reason(capsys, proofs):
    code, out, err = run(capsys, "audit", "verify-proof", "nothing")
    assert (code, out) == (15, "")
    assert err.startswith(f"error: this proves nothing against {HOST[:13]}: the loss report proves nothing: ")
    assert "hint: think no worse of anybody" in err
    code, out, err = run(capsys, "audit", "verify-proof", "nobody", "--json")
    told, error = check_output("audit verify-proof", out)
    assert (code, error["code"], told["proven"], told["host"], told["crime"]) == (15, 15, False, "", "")
    assert err.startswith("error: this proves nothing: the agreement proves nothing: ")


def test_a_rebuttal_is_heard_and_what_of_it_is_no_excuse_is_said(capsys, proofs):
    code, out, err = run(capsys, "audit", "verify-proof", "lost-pack", "--rebuttal", "answer")
    assert (code, out) == (15, "")
    assert "note: of the rebuttal, request 1 is no excuse: it was made upon head 9" in err
    assert "the owner asked for the pack to be removed, upon head 6" in err
    code, out, err = run(capsys, "audit", "verify-proof", "lost-pack", "--rebuttal", "excuse")
    assert code == 0
    assert "request 1 is no excuse" in err
    assert out.startswith("✓ proven")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone"], "can't read gone: no such file"),
        (["."], "FILE: '.' is a folder"),
        (["bad\x1bname"], "can't read bad\\u001bname: no such file"),
        (["answer"], "this is no proof of misbehaviour"),
        (["lost-pack", "--rebuttal", "lost-pack"], "this is no rebuttal"),
        (["lost-pack", "--rebuttal", "gone"], "can't read gone"),
        (["empty"], "this is no proof of misbehaviour"),
        (["cut"], "a proof of misbehaviour is damaged"),
        (["newer"], "version 2 of a proof of misbehaviour is unknown"),
        (["endless"], "a proof of misbehaviour is longer than"),
        ([], "missing argument"),
    ],
)
def test_what_is_no_proof_ends_with_2_and_a_hint(capsys, proofs, words, message):
    proof = (proofs / "lost-pack").read_bytes()
    (proofs / "empty").write_bytes(b"")
    (proofs / "cut").write_bytes(proof[:-5])
    (proofs / "newer").write_bytes(b"BPPROOF\x02" + proof[8:])
    (proofs / "endless").write_bytes(proof + bytes(PROOF_BYTES))
    code, out, err = run(capsys, "audit", "verify-proof", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert "\nhint: " in err
    assert "\x1b" not in err


def test_a_signed_time_beyond_all_calendars_is_left_out(capsys, proofs):
    court = Court()
    far = msgspec.structs.replace(CHARGES["two-heads"], receipt=court.receipt(time_ms=2**63 - 1))
    (proofs / "far").write_bytes(pack_charge(far))
    code, out, _ = run(capsys, "audit", "verify-proof", "far")
    assert code == 0
    assert "broken" not in out.partition("\n")[2]
    [told] = check_output("audit verify-proof", run(capsys, "audit", "verify-proof", "far", "--json")[1])
    assert (told["broken"], told["proven"]) == ("", True)


def test_help_cuts_no_sentence_off(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in run(capsys, "audit", "--help")[1].partition("Commands:")[2]


def test_it_needs_no_environment_and_no_machinery_of_the_agent(proofs):
    script = (
        "import sys; from backuppeer.cli.main import main;"
        "code = main(['audit', 'verify-proof', 'wrong-answer', '--json']);"
        "print([m for m in ('asyncio', 'starlette', 'uvicorn', 'iroh', 'websockets') if m in sys.modules]);"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=proofs, env={}, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines()[1] == "[]"
    assert not (proofs / "nowhere").exists()
