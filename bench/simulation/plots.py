"""Draw what was simulated: `python -m simulation.plots build/simulation.json docs/plots`, or `make simulate PLOTS=…`.

Knows: matplotlib, and alone does. Must not know: what is simulated. Lines differ by dashes and width, not by colour, so
that they can be told apart on paper. The same results give the same bytes.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulation.panels import PANELS, Panel, find_curves

_STYLES: Final = (("-", 1.8, "black"), ("--", 1.1, "0.25"), (":", 1.3, "0.25"), ("-.", 1.1, "0.45"))
"""Dashes, width in points and grey of a panel's lines, in order: ours is the solid one."""
_LEVELS: Final = ((0.2, "new"), (0.5, "fair"), (0.8, "trusted"))
_TOO_FINE: Final = re.compile(r"(\d\.\d\d)\d+")
"""A hundredth of a point is more than anybody sees, and half of the bytes."""
_INCHES: Final = (6.4, 3.2)
_DPI: Final = 100
_SETTINGS: Final[dict[str, object]] = {
    "svg.fonttype": "none",  # text stays text: small, and can be searched
    "svg.hashsalt": "backup-peer",
    "path.simplify_threshold": 0.5,
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(name: str, metrics: Mapping[str, float], folder: Path) -> list[Path]:
    """Draw a scenario as SVG and PNG; return the files, none where it has no series."""
    panels = [panel for panel in PANELS[name] if find_curves(metrics, panel)]
    if not panels:
        return []
    with mpl.rc_context(_SETTINGS):
        width, height = _INCHES
        figure = Figure(figsize=(width * (1 + 0.5 * (len(panels) - 1)), height), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
            _fill(axes, panel, metrics)
        lines, texts = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, texts, loc="outside lower center", ncols=len(texts), frameon=False, fontsize=7)
        paths = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
        figure.savefig(paths[0], metadata={"Date": None, "Creator": None})
        paths[0].write_text(_TOO_FINE.sub(r"\1", paths[0].read_text("utf-8")), "utf-8")
        figure.savefig(paths[1], dpi=_DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return paths


def _fill(axes: Axes, panel: Panel, metrics: Mapping[str, float]) -> None:
    for mark, level in _LEVELS:
        axes.axhline(mark, color="0.85", linewidth=0.6, zorder=0)
        axes.text(1.01, mark, level, transform=axes.get_yaxis_transform(), va="bottom", color="0.45", size=6)
    for day, text in panel.marks:
        axes.axvline(day, color="0.6", linewidth=0.6, linestyle=(0, (1, 2)), zorder=0)
        axes.text(day, 1.04, text, ha="center", va="bottom", size=6, color="0.3")
    styles = dict(zip(panel.lines, _STYLES, strict=False))
    for line, curve in find_curves(metrics, panel):
        dashes, width, grey = styles[line]
        if curve.least and line.who == panel.band:
            axes.fill_between(curve.days, curve.least, curve.most, color="0.9", linewidth=0, zorder=0)
        axes.plot(curve.days, curve.values, dashes, linewidth=width, color=grey, label=line.text)
    axes.set(ylim=(0, 1.02), xlim=(0, None), xlabel="day", ylabel="score")
    axes.set_title(panel.title, size=8, loc="left", pad=14)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw every scenario that was simulated."""
    parser = argparse.ArgumentParser(prog="simulation.plots", description="scores over a year, as SVG and PNG")
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    results = json.loads(options.results.read_text("utf-8"))
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in PANELS:
        for path in draw(name, results.get(name, {}), options.folder):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
