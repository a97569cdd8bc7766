"""A round: programs take turns, each restore is compared, costs go to whom they belong."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from catalogue import LOOK_UP, MEMORY, SimulatedCatalogue
from chunks import SimulatedIndex
from datasets import Dataset
from engine import EngineAlone
from meter import Meter
from peer import Report
from process import run_command
from raw_quic import RawQuic
from results import Results, read_results
from rounds import Round, run_round
from rows import Row
from run import Bench, plan_turns
from scores import COLD, OWN_DAY, RECEIPT, SimulatedScores

WORKS = ("first", "changed", "restore")


class Dummy:
    """Keeps a copy; logs what is asked of it. `loses`: what it restores is not what it was given."""

    can_restore = True
    synced = "nothing"

    def __init__(self, name, log, folder, *, loses=False):
        self.name, self._log, self._folder, self._loses = name, log, folder, loses
        folder.mkdir()

    def backup(self, paths):
        self._log.append((self.name, "backup", sorted(p.name for p in paths[0].iterdir())))
        shutil.copytree(paths[0], self._folder / "copy", dirs_exist_ok=True)
        self._paths = paths
        return Report(sent_bytes=7)

    def restore(self, target):
        self._log.append((self.name, "restore", []))
        shutil.copytree(self._folder / "copy", target / self._paths[0].relative_to("/"))
        if self._loses:
            (target / self._paths[0].relative_to("/") / "one").write_text("wrong")

    def stored_bytes(self):
        return sum(path.stat().st_size for path in (self._folder / "copy").rglob("*"))

    def close(self):
        self._log.append((self.name, "close", []))


def make_data(folder, _scale):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one").write_text("1")
    (folder / "two").unlink(missing_ok=True)

    def prepare(work):
        if work == "changed":
            (folder / "two").write_text("22")

    return Dataset([folder], prepare)


ROW = Row("a row", make_data, WORKS, ("good", "bad"))


@pytest.fixture
def log():
    return []


@pytest.fixture
def makers(log):
    return {
        "good": lambda folder, _: Dummy("good", log, folder),
        "bad": lambda folder, _: Dummy("bad", log, folder, loses=True),
    }


def take(tmp_path, makers, number=0):
    this = Round("row", ROW, number, 1.0, tmp_path / f"run-{number}", tmp_path / "data", "v1")
    return list(run_round(this, makers, ROW.peers))


def test_programs_take_turns_with_each_piece_of_work_and_see_the_same(tmp_path, makers, log):
    take(tmp_path, makers)
    assert log == [
        ("good", "backup", ["one"]),
        ("bad", "backup", ["one"]),
        ("good", "backup", ["one", "two"]),
        ("bad", "backup", ["one", "two"]),
        ("good", "restore", []),
        ("bad", "restore", []),
        ("bad", "close", []),
        ("good", "close", []),
    ]


def test_another_program_begins_in_the_next_round(tmp_path, makers, log):
    take(tmp_path, makers, number=1)
    assert [name for name, what, _ in log if what == "restore"] == ["bad", "good"]


def test_what_is_restored_is_compared(tmp_path, makers):
    found = {(s.peer, s.work): s.differences for s in take(tmp_path, makers)}
    assert found[("good", "restore")] == 0
    assert found[("bad", "restore")] == 1


def test_new_bytes_are_what_the_far_end_has_grown_by(tmp_path, makers):
    found = [(s.stored_bytes, s.new_bytes, s.sent_bytes) for s in take(tmp_path, makers) if s.peer == "good"]
    assert found == [(1, 1, 7), (3, 2, 7), (3, None, None)]


def test_a_program_that_fails_leaves_none_running_and_no_half_round(tmp_path, makers, log, monkeypatch):
    def fail(_folder, _meter):
        raise SystemExit("no server")

    results = Results(machine={"backup-peer": "v1"})
    bench = Bench(results, tmp_path / "r.json", makers | {"bad": fail}, tmp_path, tmp_path / "run", 1.0)
    monkeypatch.setattr("run.ROWS", {"row": ROW})
    with pytest.raises(SystemExit):
        bench.take("row", plan_turns_of_row())
    assert log == [("good", "close", [])]
    assert not (tmp_path / "r.json").exists()


def test_finished_rounds_are_in_the_file_and_their_folders_gone(tmp_path, makers, monkeypatch):
    monkeypatch.setattr("run.ROWS", {"row": ROW})
    bench = Bench(Results(machine={"backup-peer": "v1"}), tmp_path / "r.json", makers, tmp_path, tmp_path / "run", 1.0)
    bench.take("row", plan_turns_of_row())
    assert len(read_results(tmp_path / "r.json").samples) == len(WORKS) * 2
    assert list((tmp_path / "run").iterdir()) == []


def plan_turns_of_row():
    return plan_turns(["row"], ["good", "bad"], rounds=1, scale=1.0)


def test_a_command_costs_its_own_time_and_memory(tmp_path):
    meter, size = Meter(), 64 << 20
    script = f"import time\nx = b'1' * {size}\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    with meter.measure() as cost:
        run_command([sys.executable, "-c", script], os.environ, meter)
    assert cost.cpu_s["owner"] >= 0.3
    assert cost.peak_bytes["owner"] >= size
    with meter.measure() as cost:
        pass
    assert cost.cpu_s["owner"] == 0


def test_a_command_that_fails_says_what_it_said():
    with pytest.raises(SystemExit, match="ended with 3: out of luck"):
        run_command([sys.executable, "-c", "import sys; print('out of luck'); sys.exit(3)"], os.environ, Meter())


@pytest.mark.slow
def test_the_probes_of_index_scores_and_engine_give_their_figures(tmp_path):
    found = SimulatedIndex(tmp_path / "i", Meter(), count=5000).backup([])
    assert found.figures["chunks"] == 5000
    assert found.figures["look-ups/s"] > 0
    found = SimulatedCatalogue(tmp_path / "c", Meter(), count=5000).backup([])
    assert found.figures["packs"] == 5000
    assert found.figures[LOOK_UP] > 0
    assert 0 < found.figures[MEMORY] < 150
    found = SimulatedScores(tmp_path / "s", Meter(), count=300).backup([])
    assert (found.figures["peers"], found.figures["receipts"]) == (300, 3000)
    assert min(found.figures[COLD], found.figures[RECEIPT], found.figures[OWN_DAY]) > 0
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(os.urandom(1 << 20))
    report = EngineAlone(tmp_path / "e", Meter()).backup([tmp_path / "data"])
    assert report.figures["packed MB"] >= 1.04
    assert list((tmp_path / "e").iterdir()) == []


def test_raw_quic_moves_what_the_files_have_and_ends(tmp_path):
    (tmp_path / "file").write_bytes(bytes(3_000_001))
    peer = RawQuic(tmp_path / "raw", Meter())
    try:
        report = peer.backup([tmp_path])
        assert report.sent_bytes == 3_000_001
        assert report.seconds
    finally:
        peer.close()
    assert not Path(f"/proc/{peer._sender.pid}").exists()
