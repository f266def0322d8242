"""The figures as plots: declared in Vega-Lite, drawn as SVG whose text is text, the same bytes for the same figures.

The colours are of middling lightness and there is no background, so that a plot is read on a light page and a dark one.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import vl_convert

from .budgets import BARE, OURS
from .report import chosen, version_of
from .results import Results, Run, Timing

Spec: TypeAlias = dict[str, Any]

VEGA_LITE = "6.1"
INK, LINES = "#7d8590", "#8b949e40"
COLOURS = ["#57a773", "#4c8eda", "#d1783c"]

CONFIG: Spec = {
    "background": None,
    "aria": False,  # a name for every mark makes three quarters of a file; the page has words for the plot
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",  # comes with vl_convert: all machines lay text out alike
    "axis": {
        "labelColor": INK,
        "labelFontSize": 12,
        "labelLimit": 260,
        "titleColor": INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": LINES,
        "domainColor": LINES,
        "tickColor": LINES,
    },
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12},
    "header": {"labelColor": INK, "labelFontSize": 13, "title": None},
    "title": {"color": INK, "fontSize": 13, "fontWeight": "normal"},
    "view": {"stroke": None},
    "range": {"category": COLOURS},
}

POOLS: Spec = {
    "field": "pool",
    "type": "nominal",
    "sort": None,
    "title": None,
    "axis": {
        "grid": True,
        "domain": False,
        "ticks": False,
        "labelFontWeight": {
            "condition": {"test": f"indexof(['{OURS}', '{BARE}'], datum.value) >= 0", "value": "bold"},
            "value": "normal",
        },
    },
}


def cost(results: Results) -> Spec:
    """Microseconds of an acquire and release, alone and among others."""
    return _dots(
        results,
        {
            "a connection idle": lambda run: run["idle"],
            "20 tasks on 10 connections": lambda run: run["contended"]["20"],
            "1,000 tasks on 10 connections": lambda run: run["contended"]["1000"],
        },
    )


def observed(results: Results) -> Spec:
    """Microseconds of an acquire and release, by who listens."""
    return _dots(
        results,
        {
            "a connection idle": lambda run: run["observed"]["idle"],
            "12 tasks on 10 connections": lambda run: run["observed"]["busy"],
        },
    )


def _dots(results: Results, panels: dict[str, Callable[[Run], dict[str, Timing]]]) -> Spec:
    """A dot for each Python and loop."""
    dots = [
        {"panel": panel, "pool": pool, "µs": timing["best"] * 1e6, "python": version_of(run), "loop": run["loop"]}
        for panel, read in panels.items()
        for run in results["runs"]
        for pool, timing in read(run).items()
    ]
    return {
        "data": {"values": dots},
        "facet": {"column": {"field": "panel", "sort": list(panels)}},
        "spec": {
            "width": 210,
            "height": {"step": 24},
            "mark": {"type": "point", "size": 55, "strokeWidth": 1.5, "opacity": 1},
            "encoding": {
                "y": POOLS,
                "x": log("µs", "µs", [0.1, 1, 10, 100, 1000]),
                "color": {"field": "python", "title": "Python"},
                "shape": {"field": "loop", "title": "loop", "scale": {"range": ["circle", "triangle-up"]}},
            },
        },
    }


def queue(results: Results) -> Spec:
    """Microseconds from one release to the next, by how many wait."""
    run = chosen(results)
    dots = [
        {"pool": pool, "µs": timing["best"] * 1e6, "queued": int(depth)}
        for depth, timings in run["queued"].items()
        for pool, timing in timings.items()
    ]
    depths = [int(depth) for depth in run["queued"]]
    ours = {"condition": {"test": f"datum.pool === '{OURS}'", "value": COLOURS[0]}, "value": INK}
    return {
        "data": {"values": dots},
        "width": 430,
        "height": 260,
        "encoding": {
            "x": log("queued", "callers queued", depths),
            "y": log("µs", "µs", [1, 3, 10, 30, 100, 300]),
            "color": ours,
            "detail": {"field": "pool"},
        },
        "layer": [
            {"mark": {"type": "line", "point": True}},
            {
                "transform": [{"filter": f"datum.queued === {depths[-1]}"}],
                "mark": {"type": "text", "align": "left", "dx": 10, "fontSize": 12},
                "encoding": {"text": {"field": "pool"}},
            },
        ],
    }


def fairness(results: Results) -> Spec:
    """From the worker with the fewest acquires to the one with the most, and the longest waits."""
    figures = chosen(results)["fairness"]
    rows = [
        {"pool": pool, "fewest": each["fewest"], "most": each["most"], "waits": each["p99"] / each["ideal"]}
        for pool, each in figures.items()
    ]
    return {
        "data": {"values": rows},
        "hconcat": [
            {
                "title": "from the unluckiest of 100 workers to the luckiest",
                "width": 300,
                "height": {"step": 24},
                "mark": {"type": "rule", "strokeWidth": 8, "strokeCap": "round", "color": COLOURS[1]},
                "encoding": {
                    "y": POOLS,
                    "x": log("fewest", "acquires", [1, 3, 10, 30, 100, 300, 1000]),
                    "x2": {"field": "most"},
                },
            },
            {
                "title": "99 % of the waits were shorter than",
                "width": 260,
                "height": {"step": 24},
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "color": COLOURS[1]},
                "encoding": {
                    "y": POOLS | {"axis": POOLS["axis"] | {"labels": False}},
                    "x": log("waits", "× the wait of one who is served in turn", [1, 3, 10, 30, 100]),
                },
            },
        ],
    }


PLOTS: dict[str, Callable[[Results], Spec]] = {"cost": cost, "queue": queue, "fairness": fairness, "observed": observed}


def drawn(results: Results) -> dict[str, str]:
    """Every plot as SVG, by the name of its file."""
    return {name: svg(spec(results)) for name, spec in PLOTS.items()}


def svg(spec: Spec) -> str:
    """The plot, in the look of all of them."""
    drawing: str = vl_convert.vegalite_to_svg(spec | {"config": CONFIG, "padding": 8}, vl_version=VEGA_LITE)
    return drawing + "\n"


def log(field: str, words: str, marks: Sequence[float]) -> Spec:
    """A logarithmic axis that is marked at some places and ends where the figures do."""
    return {
        "field": field,
        "type": "quantitative",
        "title": words,
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"values": marks, "format": ","},
    }
