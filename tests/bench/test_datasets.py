"""Data sets are the same bytes whenever they are made, and change as they say."""

import hashlib
import os

import datasets
import pytest
from datasets import make_image, make_large, make_linear, make_thousand, read_all
from source import VERSIONS, change_source, copy_source, make_source

from backuppeer.cli.compare import compare_trees


def digest(folder):
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


@pytest.fixture
def original(tmp_path):
    tree = tmp_path / "original"
    for folder in ("alpha", "beta", "gamma", "__pycache__"):
        (tree / folder).mkdir(parents=True)
        for number in range(60):
            lines = [f"{folder} {number} line {n}\n" for n in range(number)]
            (tree / folder / f"module_{number}.py").write_text("".join(lines))
    return tree


@pytest.mark.parametrize("make", [make_thousand, make_linear(3000), make_large])
def test_a_set_is_the_same_bytes_each_time(tmp_path, make):
    one, other = (make(tmp_path / name, 0.01) for name in "ab")
    assert digest(one.paths[0]) == digest(other.paths[0])
    assert digest(one.paths[0])


def test_a_set_that_an_interruption_left_incomplete_is_completed(tmp_path):
    whole = make_thousand(tmp_path / "a", 0.01)
    before = digest(whole.paths[0])
    files = sorted(path for path in whole.paths[0].rglob("*") if path.is_file())
    files[0].unlink()
    files[1].write_bytes(b"half")
    make_thousand(tmp_path / "a", 0.01)
    assert digest(whole.paths[0]) == before


def test_a_thousand_files_are_a_thousand(tmp_path):
    files, size_bytes = read_all(make_thousand(tmp_path, 1).paths)
    assert (files, 1000 * 1024 <= size_bytes <= 1000 * 65536) == (1000, True)


def test_versions_of_a_source_tree_are_the_same_each_time_and_differ_from_each_other(tmp_path, original):
    told = []
    for name in "ab":
        copy_source(original, tmp_path / name, 1)
        told.append([digest(tmp_path / name)])
        for step in (1, 2, 3):
            change_source(tmp_path / name, step)
            told[-1].append(digest(tmp_path / name))
    assert told[0] == told[1]
    assert len({tuple(version.items()) for version in told[0]}) == len(VERSIONS)


def test_a_version_has_edits_additions_renames_and_removals_and_most_is_as_before(tmp_path, original):
    tree = tmp_path / "tree"
    copy_source(original, tree, 1)
    assert "__pycache__" not in {path.name for path in tree.iterdir()}
    before = digest(tree)
    change_source(tree, 1)
    after = digest(tree)
    contents = set(before.values())
    assert any("new_1_" in name and value not in contents for name, value in after.items())
    assert any("moved_1_" in name and value in contents for name, value in after.items())
    assert len([path for path in tree.iterdir() if path.name.endswith("_1")]) == 1
    assert contents - set(after.values())
    assert len(contents & set(after.values())) > 0.85 * len(contents)


def test_a_source_tree_begins_anew_in_each_round(tmp_path, original, monkeypatch):
    monkeypatch.setattr("source.sysconfig.get_paths", lambda: {"stdlib": str(original)})
    dataset = make_source(tmp_path / "s", 1)
    first = digest(dataset.paths[0])
    dataset.prepare("version 1")
    assert digest(dataset.paths[0]) == first
    dataset.prepare("version 2")
    assert digest(dataset.paths[0]) != first
    assert digest(make_source(tmp_path / "s", 1).paths[0]) == first


@pytest.mark.slow
def test_an_image_has_holes_and_a_tenth_of_the_rest_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "IMAGE_BYTES", 160 << 20)
    dataset = make_image(tmp_path / "vm", 1)
    image = tmp_path / "vm" / "disk.img"
    before = image.read_bytes()
    assert len(before) == 160 << 20
    assert image.stat().st_blocks * 512 <= 41 << 20
    dataset.prepare("changed")
    after = image.read_bytes()
    changed = sum(before[at : at + (1 << 20)] != after[at : at + (1 << 20)] for at in range(0, len(before), 1 << 20))
    assert changed == 4
    assert image.stat().st_blocks * 512 <= 41 << 20
    make_image(tmp_path / "other", 1).prepare("changed")
    assert compare_trees(image, tmp_path / "other" / "disk.img").differences.get(b"", "").endswith("time")


def test_warming_up_counts_files_and_bytes_and_follows_no_link(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    with (tmp_path / "hole").open("wb") as file:
        os.truncate(file.fileno(), 1 << 30)
    assert read_all([tmp_path]) == (2, 5 + (1 << 30))
