"""Figures as text for a terminal and as Markdown for the documentation. Pure.

Knows: cells and aims, columns. Must not know: files.
"""

from collections.abc import Mapping, Sequence

from aims import judge_aims
from cells import BUSY_SHARE, Cell, Key, find_ratio, gather_cells, order_cells
from results import Results, Sample
from rows import LINEAR, OURS, REST, ROWS

_HEADS = (
    *("row", "work", "program", "s (spread)", "MiB/s", "x restic", "CPU s owner + host", "peak MB owner / host"),
    *("new MB", "sent MB", "stored MB", "others"),
)
_LEFT = 3
"""Columns of words; the rest are figures."""


def format_line(sample: Sample) -> str:
    """Return one sample, as it comes in."""
    cpu = " + ".join(f"{sample.cpu_s.get(group, 0):.1f}" for group in ("owner", "host"))
    peak = " / ".join(f"{sample.peak_bytes.get(group, 0) / 1e6:.0f}" for group in ("owner", "host"))
    figures = "".join(f"  {name} {value:,.1f}" for name, value in sample.figures.items())
    wrong = f"  {sample.differences} DIFFER" if sample.differences else ""
    return (
        f"{sample.row:<11} {sample.work:<10} {sample.peer:<17} {sample.seconds:8.2f} s  cpu {cpu} s  peak {peak} MB"
        f"  sent {_mb(sample.sent_bytes)} stored {_mb(sample.stored_bytes)} MB  others {sample.others_cpu_s:.1f} s"
        f"{figures}{wrong}"
    )


def format_text(samples: Sequence[Sample], *, cores: int) -> str:
    """Return the table for a terminal: medians, ranges of all rounds, how much of the processors others had."""
    lines = make_lines(samples, cores=cores)
    rows = [_HEADS, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    return "\n".join(
        "  ".join(
            text.ljust(w) if n < _LEFT else text.rjust(w) for n, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def make_lines(samples: Sequence[Sample], *, cores: int) -> list[tuple[str, ...]]:
    """Return the table's lines, one text for each head."""
    cells = gather_cells(samples)
    return [_make_line(cells, cell, cores) for cell in order_cells(cells, tuple(ROWS))]


def _make_line(cells: Mapping[Key, Cell], cell: Cell, cores: int) -> tuple[str, ...]:
    low, high = cell.spread
    ratio = None if cell.key.peer == REST else find_ratio(cells, cell, REST)
    share = cell.others_share(cores)
    wrong = f" {cell.differences} DIFFER" if cell.differences else ""
    return (
        cell.key.row + ("" if cell.key.scale == 1 else f" x {cell.key.scale:g}"),
        cell.key.work + wrong,
        cell.key.peer,
        f"{cell.seconds:.2f}" + (f" ({low:.2f}-{high:.2f})" if len(cell.samples) > 1 else ""),
        f"{cell.mib_s:,.0f}" if cell.samples[-1].size_bytes else "",
        "" if ratio is None else f"{ratio:.2f}",
        f"{cell.cpu_s('owner'):.1f} + {cell.cpu_s('host'):.1f}",
        f"{cell.peak_bytes('owner') / 1e6:.0f} / {cell.peak_bytes('host') / 1e6:.0f}",
        _mb(cell.size(lambda s: s.plain_bytes)),
        _mb(cell.size(lambda s: s.sent_bytes)),
        _mb(cell.size(lambda s: s.stored_bytes)),
        f"{share:.0%}" + (" *" if share > BUSY_SHARE else ""),
    )


def _mb(size_bytes: float | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e6:,.1f}"


def format_markdown(results: Results) -> str:
    """Return all of it for the documentation: machine, aims, figures, costs per file, what is synced."""
    cells = gather_cells(results.samples)
    cores = int(results.machine.get("cores", "1"))
    parts = [
        _markdown(("machine", ""), [(name, text) for name, text in results.machine.items()]),
        _markdown(
            ("aim", "at least", "wanted", "measured", ""),
            [
                (aim.says, _limit(aim.least, aim.unit), _limit(aim.wanted, aim.unit), _limit(value, aim.unit), word)
                for aim, value, word in judge_aims(cells, cores=cores)
            ],
        ),
        _markdown(_HEADS, make_lines(results.samples, cores=cores)),
        _markdown(("row", "what it is"), _describe_rows(cells)),
        _markdown(("files", "work", "µs per file", "peak MB owner / host", "CPU µs per file"), _make_linear(cells)),
        _markdown(("probe", "figure", "value"), _make_figures(cells)),
        _markdown(("program", "on the disk when a backup has returned"), _describe_synced(results.samples)),
    ]
    return "\n\n".join(part for part in parts if part)


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, rule, *lines))


def _limit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.4g} {unit}"


def _describe_rows(cells: Mapping[Key, Cell]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for key, cell in cells.items():
        sample = cell.samples[-1]
        size = f" ({sample.files:,} files, {sample.size_bytes / 1e9:.2f} GB)" if sample.files else ""
        scale = "" if key.scale == 1 else f" x {key.scale:g}"
        says = ROWS[key.row].says if key.row in ROWS else ""
        found.setdefault(key.row + scale, says + size)
    return list(found.items())


def _make_linear(cells: Mapping[Key, Cell]) -> list[tuple[str, ...]]:
    """Return what a file costs in each size of the same set: where costs grow linearly, lines of one work are alike."""
    found = [cell for key, cell in cells.items() if key.row in LINEAR and key.peer == OURS and cell.samples[-1].files]
    works = list(dict.fromkeys(cell.key.work for cell in found))
    found.sort(key=lambda cell: (works.index(cell.key.work), cell.samples[-1].files))
    return [
        (
            f"{(files := cell.samples[-1].files):,}",
            cell.key.work,
            f"{cell.seconds / files * 1e6:,.0f}",
            f"{cell.peak_bytes('owner') / 1e6:.0f} / {cell.peak_bytes('host') / 1e6:.0f}",
            f"{(cell.cpu_s('owner') + cell.cpu_s('host')) / files * 1e6:,.0f}",
        )
        for cell in found
    ]


def _make_figures(cells: Mapping[Key, Cell]) -> list[tuple[str, str, str]]:
    return [
        (
            cell.key.row + ("" if cell.key.scale == 1 else f" x {cell.key.scale:g}"),
            name,
            f"{cell.figure(name):,.1f}".removesuffix(".0"),
        )
        for cell in order_cells(cells, tuple(ROWS))
        for name in cell.samples[-1].figures
    ]


def _describe_synced(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    return list({sample.peer: sample.synced for sample in samples}.items())
