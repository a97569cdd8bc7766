"""The long soak says what went wrong; nothing of it passes in silence."""

from collections import Counter

from soak.growth import Sample
from soak.long import Log, summarise

FINE = {b"a": ("file",)}


def samples(role, *, pid=1, per_sample=0):
    return [Sample(role, pid, 5.0 * n, 50_000_000 + n * per_sample, 20) for n in range(100)]


def made(**changes):
    log = Log(trees={"s1": FINE}, codes=Counter({0: 1}), restored=1)
    log.samples = [each for role in ("owner", "host", "server") for each in changes.get(role) or samples(role)]
    return log


def test_a_soak_in_which_all_went_well_has_nothing_wrong():
    found = summarise(made())
    assert (found["wrong"], found["restored"], found["growth"]["host"]["lives"]) == ([], 1, 1)


def test_a_process_that_grows_in_its_last_life_is_named():
    (wrong,) = summarise(made(host=samples("host", per_sample=500_000)))["wrong"]
    assert wrong.startswith("host grew by ")


def test_a_process_that_takes_too_much_is_named():
    (wrong,) = summarise(made(owner=[Sample("owner", 1, 5.0 * n, 140_000_000, 20) for n in range(100)]))["wrong"]
    assert wrong == "owner had 140 MB, 130 at most are allowed"


def test_growth_in_the_life_before_a_kill_counts_in_the_slope_alone():
    before = samples("host", pid=1, per_sample=400_000)
    found = summarise(made(host=[*before, *samples("host", pid=2)]))
    assert found["wrong"] == []
    assert found["growth"]["host"]["memory_bytes_per_hour"] > 0


def test_a_soak_that_saw_too_little_to_tell_does_not_pass():
    log = made()
    log.trees, log.samples = {}, []
    wrong = summarise(log)["wrong"]
    assert len(wrong) == 7
    assert "no backup was made" in wrong
