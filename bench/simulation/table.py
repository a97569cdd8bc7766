"""What was simulated as a table for a terminal. Pure.

Knows: results, targets, columns. Must not know: how results came about. Points of series are for plots.
"""

from simulation.schemes import SCHEMES
from simulation.series import read_point
from simulation.targets import TARGETS, WORLDS, Metrics, Target, find_missed

_HEADS = ("scenario", "what", "target", "seen", "", *SCHEMES)
_LEFT = 2
"""Columns of words; the rest are figures."""


def format_table(results: dict[str, Metrics], *, worlds: int = WORLDS) -> str:
    """Return a line for each target that was run, the schemes of others beside it, then what was seen without one.

    ✓ met, ✗ missed; (20) beside it: it is for so many worlds, and these are fewer.
    """
    run = [target for target in TARGETS if target.metric in results.get(target.scenario, {})]
    rows = [_HEADS, *(_row(results, target, worlds) for target in run)]
    with_target = {(target.scenario, target.metric) for target in TARGETS}
    for scenario, metrics in results.items():
        for metric, value in metrics.items():
            is_other = metric.split(": ", 1)[0] in SCHEMES
            if not is_other and read_point(metric) is None and (scenario, metric) not in with_target:
                rows.append((scenario, metric, "", _number(value), "", *_others(metrics, metric)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if n < _LEFT else text.rjust(width)
            for n, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def format_verdict(results: dict[str, Metrics], *, worlds: int = WORLDS) -> str:
    """Return in a sentence how many targets were met, and which were not."""
    missed = find_missed(results, worlds=worlds)
    run = [target for target in TARGETS if target.metric in results.get(target.scenario, {})]
    told = sum(target.worlds <= worlds for target in run)
    left = f"; {len(run) - told} can only be told of {WORLDS} worlds" if told < len(run) else ""
    if not missed:
        return f"all {told} targets met{left}"
    names = "; ".join(f"{target.scenario}: {target.metric}" for target in missed)
    return f"{len(missed)} of {told} targets missed: {names}{left}"


def _row(results: dict[str, Metrics], target: Target, worlds: int) -> tuple[str, ...]:
    metrics = results[target.scenario]
    value = metrics[target.metric]
    sign = "≤" if target.is_most else "≥"
    mark = "✓" if target.is_met(value) else "✗"
    mark += f" ({target.worlds})" if target.worlds > worlds else ""
    limit = f"{sign} {_number(target.limit)}"
    return (target.scenario, target.metric, limit, _number(value), mark, *_others(metrics, target.metric))


def _others(metrics: Metrics, metric: str) -> list[str]:
    found = (metrics.get(f"{scheme}: {metric}") for scheme in SCHEMES)
    return ["" if value is None else _number(value) for value in found]


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) >= 1 else f"{value:.3f}"
