"""The tables say what the samples say: medians, spreads, ratios, aims, and how busy the machine was otherwise."""

from aims import AIMS, judge_aims
from browsing import COMPLETE, FIRST
from catalogue import LOOK_UP, MEMORY
from cells import Key, gather_cells
from hypothesis import given
from hypothesis import strategies as st
from idling import CORE, PRIVATE, WAKES
from link import LANES, QUIC
from recovery import RATE, READ_SHARE
from relay import ONE, SHARE
from results import Results
from scores import COLD, OWN_DAY, RECEIPT
from starting import AGENT, STATUS, VERSION
from table import format_line, format_markdown, format_text, make_lines

from bench.samples import sample

REST = "restic-rest"
PEAKS = {"owner": 310 * 10**6, "host": 10}


def test_a_cell_is_the_median_of_its_rounds_with_the_spread():
    cells = gather_cells([sample(number=n, seconds=s) for n, s in enumerate((3.0, 1.0, 2.0))])
    cell = cells[Key("large", 1.0, "first", "backup-peer")]
    assert (cell.seconds, cell.spread, cell.mib_s) == (2.0, (1.0, 3.0), 1024)
    assert "2.00 (1.00-3.00)" in format_text(list(cell.samples), cores=2)


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=9))
def test_a_median_lies_within_its_spread(seconds):
    (cell,) = gather_cells([sample(number=n, seconds=s) for n, s in enumerate(seconds)]).values()
    assert cell.spread[0] <= cell.seconds <= cell.spread[1]


def test_memory_is_that_of_the_worst_round():
    (cell,) = gather_cells([sample(number=n, peak_bytes={"owner": p}) for n, p in enumerate((5, 9, 7))]).values()
    assert (cell.peak_bytes("owner"), cell.peak_bytes("host")) == (9, 0)


def test_each_program_is_shown_beside_restic_over_rest():
    lines = make_lines([sample(), sample(peer=REST, seconds=9.0), sample(peer="borg-local", seconds=4.5)], cores=2)
    assert [(line[2], line[5]) for line in lines] == [("backup-peer", "4.50"), (REST, ""), ("borg-local", "2.00")]


def test_a_trial_is_not_compared_with_the_full_size_and_meets_no_aim():
    samples = [sample(scale=0.1), sample(peer=REST, seconds=9.0)]
    assert [line[5] for line in make_lines(samples, cores=2)] == ["", ""]
    assert {word for _, _, word in judge_aims(gather_cells([sample(scale=0.1)]), cores=2)} == {"not measured"}


def test_figures_taken_on_a_busy_machine_are_marked():
    lines = make_lines([sample(others_cpu_s=1.0), sample(peer=REST, others_cpu_s=0.2)], cores=2)
    assert [line[-1] for line in lines] == ["25% *", "5%"]


def test_what_came_back_different_is_shown_in_every_form():
    wrong = sample(work="restore", differences=3)
    assert "3 DIFFER" in format_line(wrong)
    assert "3 DIFFER" in format_text([wrong], cores=2)
    assert "3 DIFFER" in format_markdown(Results(samples=[wrong]))


def test_unknown_sizes_stay_empty_and_known_ones_are_shown():
    (line,) = make_lines([sample(stored_bytes=1_500_000, plain_bytes=2_000_000)], cores=2)
    assert line[8:11] == ("2.0", "", "1.5")


def test_aims_are_told_from_full_size_figures():
    samples = [
        *(sample(seconds=2.0), sample(peer=REST, seconds=7.0, others_cpu_s=2.0)),
        *(sample(row="small", work="unchanged", seconds=2.0), sample(row="small", work="unchanged", peer=REST)),
        *(sample(row="thousand", work="unchanged", seconds=s, number=n) for n, s in enumerate((0.2, 0.3, 0.9))),
        *(sample(row="src", work=f"version {n}", new_bytes=n) for n in (1, 2, 3, 4)),
        *(sample(row="src", work=f"version {n}", new_bytes=10, peer=REST) for n in (1, 2, 3, 4)),
        sample(
            row="quic",
            peer="backup-peer-quic",
            seconds=10.0,
            peak_bytes={"owner": 310 * 10**6, "host": 10},
            cpu_s={"host": 5.0},
        ),
        sample(row="quic", peer="raw-quic", seconds=8.0, cpu_s={"host": 4.0}),
        sample(row="engine", peer="engine", seconds=1.0),
        sample(row="index", work="look up", peer="index", figures={"bytes of memory per chunk": 65.0}),
        sample(row="recovery", work="recover", peer="recovery", figures={RATE: 60.0, READ_SHARE: 0.5}),
        sample(row="catalogue", work="look up", peer="catalogue", figures={LOOK_UP: 0.01, MEMORY: 151.0}),
        sample(row="scores", work="score", peer="scores", figures={COLD: 0.7, RECEIPT: 11.0, OWN_DAY: 0.1}),
        sample(row="browse", work="browse", peer="browse", figures={FIRST: 0.4, COMPLETE: 2.3}),
        sample(row="relay", work="relay", peer="relay", figures={ONE: 100.0, SHARE: 0.7}),
        sample(row="start", work="start", peer="start", figures={VERSION: 0.1, STATUS: 0.3, AGENT: 0.9}),
        sample(row="idle", work="idle", peer="idle", figures={CORE: 0.1, PRIVATE: 140.0, WAKES: 3.0}),
        sample(row="link", peer=LANES, size_bytes=100_000_000, seconds=8.0),
        sample(row="link", peer=QUIC, size_bytes=100_000_000, seconds=10.0),
        sample(row="link", work="restore", peer=LANES, size_bytes=87_500_000, seconds=8.0),
    ]
    told = {aim.says: (value, word) for aim, value, word in judge_aims(gather_cells(samples), cores=2)}
    assert told == {
        "`large` first backup, to restic → REST": (3.5, "enough *"),
        "`small` first backup, to restic → REST": (None, "not measured"),
        "`small` unchanged, to restic → REST": (1.0, "missed"),
        "restore of `large`, to restic ← REST": (None, "not measured"),
        "restore of `small`, to restic ← REST": (None, "not measured"),
        "`thousand` unchanged, the whole command": (0.3, "enough"),
        "`quic` first backup, to raw QUIC": (0.8, "reached"),
        "`quic`, processor time of the host to raw QUIC's": (1.25, "enough"),
        "`engine` alone": (2048, "reached"),
        "`src` versions 2 to 4, new bytes to restic's": (0.3, "reached"),
        "highest peak of the owner, all rows": (310, "missed"),
        "highest peak of the host, all rows": (0.00001, "reached"),
        "`index`, memory for each of 2 million chunks": (65.0, "missed"),
        "`recovery`, directories read": (60.0, "reached"),
        "`recovery`, bytes read to stored": (0.5, "missed"),
        "`catalogue`, a look-up among 10 million packs": (0.01, "reached"),
        "`catalogue`, memory for 10 million packs": (151.0, "missed"),
        "`scores` of 10,000 peers by 100,000 receipts": (0.7, "enough"),
        "`scores`, one more receipt": (11.0, "missed"),
        "`scores`, one more day with a host": (0.1, "reached"),
        "`browse` with three servers, first row": (0.4, "reached"),
        "`browse`, complete": (2.3, "missed"),
        "`relay`, one pair": (100.0, "enough"),
        "`relay`, slowest of 8 pairs to fastest": (0.7, "missed"),
        "`--version`": (0.1, "reached"),
        "`status` of an agent that runs": (0.3, "missed"),
        "an agent's start until it is ready": (0.9, "reached"),
        "an idle agent with a session, processor": (0.1, "reached"),
        "an idle agent, memory of its own": (140.0, "missed"),
        "an idle agent, wake-ups of its threads": (3.0, "reached"),
        "backup over a line of 100 Mbit/s and 50 ms, lanes": (1.0, "reached"),
        "backup over a line of 100 Mbit/s and 50 ms, QUIC alone": (0.8, "missed"),
        "restore over a line of 100 Mbit/s and 50 ms, lanes": (0.875, "enough"),
        "restore over a line of 100 Mbit/s and 50 ms, QUIC alone": (None, "not measured"),
    }
    assert len(told) == len(AIMS)


def test_the_documentation_gets_every_table_and_no_broken_line():
    samples = [
        sample(peer=REST),
        sample(row="linear-10k", files=10_000, seconds=1.0, cpu_s={"owner": 1.5, "host": 0.5}),
        sample(row="linear-100k", files=100_000, seconds=10.0),
        sample(row="index", figures={"look-ups/s": 250_000.0}),
    ]
    text = format_markdown(Results(machine={"cores": "2", "kernel": "Linux"}, samples=samples))
    assert "| 10,000 | first | 100 | 0 / 0 | 200 |\n| 100,000 | first | 100 |" in text
    assert "| index | look-ups/s | 250,000 |" in text
    assert "| restic-rest | restic-rest: all |" in text
    for table in text.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines()}) == 1
