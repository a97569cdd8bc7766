"""A host that is charged with the loss of a pack that its owner had deleted answers with the owner's own words."""

import subprocess
import sys

import pytest

from backuppeer.agent.home.home import Home as HomeFolder
from backuppeer.agent.home.keyring import load_keys
from backuppeer.host import heads
from backuppeer.host.removal_file import read_removal
from backuppeer.ids import StoredId
from backuppeer.proof.charges import LostPack, pack_charge
from backuppeer.proof.custody import LossCause, Standing, sign_ack, sign_loss
from backuppeer.proof.statements import (
    ZERO_HASH,
    Agreement,
    Head,
    HeadReceipt,
    peek_statement,
    sign_statement,
    statement_hash,
)
from e2e.harness import Pair, World, agree
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def charge_loss(pair: Pair, stored: StoredId) -> LostPack:
    """Return what proves that the host acknowledged a pack, countersigned the head of now, and reported it lost."""
    signer = load_keys(HomeFolder(pair.host.path)).identity
    (folder,) = (pair.host.path / "store" / "agreements").iterdir()
    signed = (folder / "agreement").read_bytes()
    agreement, terms = peek_statement(Agreement, signed).agreement, statement_hash(signed)
    head, grant = heads._split((folder / "head").read_bytes())
    said = peek_statement(Head, head)
    now = Standing(agreement, terms, statement_hash(head), said.number)
    receipt = HeadReceipt(agreement=agreement, head_hash=now.head_hash, number=said.number, time_ms=said.time_ms)
    before = Standing(agreement, terms, ZERO_HASH, 0)
    return LostPack(
        agreements=[signed],
        head=head,
        grant=grant,
        receipt=sign_statement(receipt, signer),
        ack=sign_ack([stored], signer, standing=before, time_ms=said.time_ms),
        acked=[stored],
        report=sign_loss([stored], signer, standing=now, cause=LossCause.MISSING, time_ms=said.time_ms + 1),
        lost=[stored],
        stored=stored,
    )


def judge(proof: str, *words: str) -> int:
    command = [sys.executable, "-m", "backuppeer.cli.main", "audit", "verify-proof", proof, *words]
    return subprocess.run(command, env={}, capture_output=True, check=False).returncode


def test_a_delete_of_the_owner_excuses_the_host_and_without_one_the_charge_stands(world: World):
    pair = agree(world)
    tree = world.path / "files"
    make_random_files(tree, count=4, size_bytes=300_000, seed=1)
    first = pair.owner.do("backup", str(tree)).last["snapshot"]
    for path in tree.iterdir():
        path.unlink()
    make_random_files(tree, count=4, size_bytes=300_000, seed=2)
    pair.owner.do("backup", str(tree))
    pair.owner.do("forget", first, "--yes")
    pair.owner.do("prune", "--yes")
    (request,) = (pair.host.path / "store").glob("agreements/*/removals/*.delete")
    deleted = read_removal(request, 1).kept.packs
    kept = next(stored for path in pair.packs() if (stored := bytes.fromhex(path.name)) not in deleted)
    for name, stored in (("deleted", deleted[0]), ("kept", StoredId(kept))):
        (world.path / name).write_bytes(pack_charge(charge_loss(pair, stored)))
        assert judge(str(world.path / name)) == 0, "by itself each of them convicts"

    proof, answer = str(world.path / "deleted"), str(world.path / "answer")
    told = pair.host.do("audit", "rebut", proof, "--to", answer).last
    assert told["file"] == answer
    assert "the owner asked for the pack to be removed" in told["reason"]
    assert judge(proof, "--rebuttal", answer) == 15
    again = pair.host.run("audit", "rebut", proof, "--to", answer)
    assert (again.code, "is there already" in again.last["message"]) == (2, True)

    stands = pair.host.run("audit", "rebut", str(world.path / "kept"))
    assert (stands.code, "nothing that is kept here excuses this" in stands.last["message"]) == (15, True)
    assert not (world.path / "kept.rebuttal").exists()
    assert pair.owner.run("audit", "rebut", proof).code == 10, "it is not this home that is charged"
    assert pair.host.run("audit", "rebut", answer).code == 2, "and that is no proof"
