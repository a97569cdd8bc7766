"""`audit rebut`: what it asks the agent for, which answer it takes, what it writes."""

import pytest
from court import OTHER_PACK, STORED, Court

from backuppeer.control.rebutting import KeptRemoval
from backuppeer.proof.charges import ShownRemoval, pack_charge, unpack_charge, unpack_rebuttal
from backuppeer.proof.misbehaviour import judge
from backuppeer.proof.removals import PackWithdraw
from cli.rows import run
from cli.terminal import check_output

COURT = Court()


def kept(number: int, shown: ShownRemoval) -> KeptRemoval:
    return KeptRemoval(number=number, signed=shown.signed.hex(), packs=[one.hex() for one in shown.packs])


@pytest.fixture
def proof(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lost").write_bytes(pack_charge(COURT.lost_pack()))
    return tmp_path


@pytest.fixture
def host(agent):
    """An agent that kept the requests given, oldest first, and all revisions of the agreement."""

    def keep(*removals: KeptRemoval, agreements=()):
        async def rebut(request, emit):
            later = [one for one in removals if one.number > request.after and request.stored in one.packs]
            found = later[0] if later else KeptRemoval()
            if not request.after:
                found.agreements = [signed.hex() for signed in (COURT.agree(), *agreements)]
            return found

        return agent({"rebut": rebut})

    return keep


def test_the_first_request_that_a_judge_takes_for_an_excuse_is_written(capsys, proof, host):
    early, right = kept(2, COURT.delete(3)), kept(7, COURT.delete(6))
    other = kept(5, COURT.delete(6, packs=(OTHER_PACK,)))
    dummy = host(early, other, right, kept(9, COURT.delete(7)))
    code, out, err = run(capsys, "audit", "rebut", "lost")
    assert code == 0, err
    assert "you are excused: the owner asked for the pack to be removed, upon head 6" in out
    assert "lost.rebuttal" in out
    answer = unpack_rebuttal((proof / "lost.rebuttal").read_bytes())
    assert answer.removals == [COURT.delete(6)]
    assert not judge(unpack_charge((proof / "lost").read_bytes()), answer).is_proven
    assert [request.after for _, request in dummy.requests] == [0, 2]
    assert {request.stored for _, request in dummy.requests} == {STORED.hex()}


def test_a_withdrawal_excuses_as_well_and_programs_get_one_value(capsys, proof, host):
    host(kept(1, COURT.delete(5, kind=PackWithdraw)))
    code, out, _ = run(capsys, "audit", "rebut", "lost", "--to", "answer", "--json")
    [told] = check_output("audit rebut", out)
    assert (code, told["file"]) == (0, str(proof / "answer"))
    assert (proof / "answer").exists()


def test_the_end_of_the_agreement_is_found_among_its_revisions(capsys, proof, host):
    host(agreements=[COURT.agree(2, term_s=1)])
    code, out, _ = run(capsys, "audit", "rebut", "lost")
    assert code == 0
    assert "the agreement was over by then (revision 2)" in out


def test_without_an_excuse_the_charge_stands_and_nothing_is_written(capsys, proof, host):
    host(kept(2, COURT.delete(3)))
    code, out, err = run(capsys, "audit", "rebut", "lost")
    assert (code, out) == (15, "")
    assert "nothing that is kept here excuses this" in err
    assert {path.name for path in proof.iterdir()} >= {"lost"}
    assert not (proof / "lost.rebuttal").exists()


def test_what_proves_nothing_needs_no_answer_and_no_agent(capsys, proof):
    (proof / "nothing").write_bytes(pack_charge(COURT.lost_pack(lost=[b"z" * 32])))
    code, out, _ = run(capsys, "audit", "rebut", "nothing")
    assert code == 0
    assert "it proves nothing, without any answer" in out
    code, out, _ = run(capsys, "audit", "rebut", "nothing", "--json")
    [told] = check_output("audit rebut", out)
    assert (code, told["file"]) == (0, "")


def test_no_file_is_written_over(capsys, proof, host):
    host(kept(1, COURT.delete(6)))
    before = (proof / "lost").read_bytes()
    code, _, err = run(capsys, "audit", "rebut", "lost", "--to", "lost")
    assert (code, (proof / "lost").read_bytes()) == (2, before)
    assert "error: lost is there already" in err
    assert run(capsys, "audit", "rebut", "lost", "--to", "no/such/folder")[0] == 2


@pytest.mark.parametrize("content", [None, b"", b"BPREPLY\x01\x80", b"\xff" * 100])
def test_what_is_no_proof_is_refused(capsys, proof, content):
    if content is not None:
        (proof / "other").write_bytes(content)
    code, _, err = run(capsys, "audit", "rebut", "other")
    assert (code, err[:7]) == (2, "error: ")
