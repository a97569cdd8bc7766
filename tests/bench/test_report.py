"""Figures get into the documentation by one command, and nothing else of it changes."""

import pytest
from report import BEGIN, DOCUMENT, END, main, replace_figures
from results import Results, read_results, save_results
from table import format_markdown

from bench.samples import sample


def test_only_what_is_between_the_markers_changes():
    assert replace_figures(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_document_without_its_two_markers_is_left_alone(text):
    with pytest.raises(SystemExit, match="one line"):
        replace_figures(text, "new")


def test_the_command_writes_the_table_and_keeps_the_json_beside_it(tmp_path, monkeypatch, capsys):
    into, json = tmp_path / "performance.md", tmp_path / "r.json"
    into.write_text(f"# Performance\n{BEGIN}\n{END}\n")
    save_results(json, Results(machine={"cores": "2"}, samples=[sample(seconds=1.25)]))
    monkeypatch.setattr("sys.argv", ["report", "--json", str(json), "--into", str(into)])
    assert main() == 0
    assert "| 1.25 |" in into.read_text()
    assert read_results(tmp_path / "performance.json").samples[0].seconds == 1.25
    assert "performance.md" in capsys.readouterr().out


def test_the_figures_in_the_documentation_are_those_of_the_json_beside_it():
    text = DOCUMENT.read_text()
    assert replace_figures(text, format_markdown(read_results(DOCUMENT.with_suffix(".json")))) == text
