"""The figures of the servers as plots, in the look of the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from ..plots import COLOURS, INK, POOLS, Spec, log, svg
from .report import COMMON, words_for
from .results import PATIENCE, Load, Results

_DOT: Spec = {"type": "point", "size": 55, "strokeWidth": 1.5, "opacity": 1}
_BAR: Spec = {"type": "rule", "strokeWidth": 8, "strokeCap": "round"}


def throughput(results: Results) -> Spec:
    """Right replies in a second."""
    rows = [
        {"driver": driver, "pool": pool, "load": words_for(load), "rate": _middle(turns, "rate")}
        for driver, load, pool, turns in _turns(results)
    ]
    shapes = {"range": ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]}
    return _by_driver(
        rows,
        {
            "mark": _DOT | {"color": COLOURS[1]},
            "encoding": {
                "x": {"field": "rate", "type": "quantitative", "title": "right replies in a second"},
                "shape": {"field": "load", "title": "tasks on connections", "sort": None, "scale": shapes},
            },
        },
    )


def latency(results: Results) -> Spec:
    """From the median request to the slowest in a thousand, for many tasks."""
    rows = [
        {"driver": driver, "pool": pool, "load": words_for(load)}
        | {which: 1e3 * _middle(turns, which) for which in ("p50", "p999")}
        for driver, load, pool, turns in _turns(results)
    ]
    many = rows[-1]["load"]
    return _by_driver(
        [row for row in rows if row["load"] == many],
        {
            "mark": _BAR | {"color": COLOURS[1]},
            "encoding": {
                "x": log("p50", f"ms, from p50 to p99.9, {many} connections", [1, 3, 10, 30, 100, 300, 1000, 3000]),
                "x2": {"field": "p999"},
            },
        },
    )


def fairness(results: Results) -> Spec:
    """From the worker with the fewest replies to the one with the most."""
    rows = [
        {"driver": driver, "pool": pool, "fewest": _middle(turns, "fewest"), "most": _middle(turns, "most")}
        for driver, load, pool, turns in _turns(results)
        if load == COMMON
    ]
    return _by_driver(
        rows,
        {
            "mark": _BAR | {"color": COLOURS[1]},
            "encoding": {
                "x": {"field": "fewest", "type": "quantitative", "title": "right replies to a worker"},
                "x2": {"field": "most"},
            },
        },
    )


def recovery(results: Results) -> Spec:
    """Seconds until the first worker is served again, and until all are."""
    rows = [
        {"driver": driver, "pool": pool, "until": until, "s": PATIENCE if seconds is None else seconds}
        for driver, figures in results["drivers"].items()
        for pool, kills in figures["recovery"].items()
        for kill in kills
        for until, seconds in (("the first reply", kill["first"]), ("everybody's", kill["everybody"]))
    ]
    return _by_driver(
        rows,
        {
            "mark": _DOT,
            "encoding": {
                "x": log("s", "seconds since the server answers again", [0.001, 0.01, 0.1, 1, PATIENCE]),
                "color": {"field": "until", "title": None, "sort": None, "scale": {"range": [COLOURS[0], INK]}},
            },
        },
    )


PLOTS: dict[str, Callable[[Results], Spec]] = {
    "throughput": throughput,
    "latency": latency,
    "fairness": fairness,
    "recovery": recovery,
}


def drawn(results: Results) -> dict[str, str]:
    """Every plot as SVG, by the name of its file."""
    return {name: svg(spec(results)) for name, spec in PLOTS.items()}


def _turns(results: Results) -> Iterator[tuple[str, str, str, list[Load]]]:
    """By driver, load and pool."""
    for driver, figures in results["drivers"].items():
        for load, pools in figures["load"].items():
            for pool, turns in pools.items():
                yield driver, load, pool, turns


def _middle(turns: Sequence[Mapping[str, Any]], which: str) -> float:
    return float(median(turn[which] for turn in turns))


def _by_driver(rows: list[dict[str, Any]], panel: Spec) -> Spec:
    """A panel for each driver, with its own pools, on one scale."""
    encoding = {"y": POOLS} | panel["encoding"]
    return {
        "data": {"values": rows},
        "facet": {"row": {"field": "driver", "sort": None, "header": {"orient": "top", "labelAnchor": "start"}}},
        "resolve": {"scale": {"y": "independent"}},
        "spec": {"width": 430, "height": {"step": 24}} | panel | {"encoding": encoding},
    }
