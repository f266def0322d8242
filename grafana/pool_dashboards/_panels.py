"""Panels in the style of the house: each asks a question, says what good looks like, and what to do if it does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    DataSourceRef,
    GraphDrawStyle,
    GraphGradientMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TableAutoCellOptions,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${prometheus_datasource}")
Panel: TypeAlias = timeseries.Panel | heatmap.Panel | stat.Panel | table.Panel

HEIGHT = 8  # of a panel, in rows of the grid
NONE = "None reported"  # where nothing is drawn; also true where there is no telemetry at all
ANY = 1e-9  # a threshold that all but zero passes


@dataclass(frozen=True)
class Words:
    """What a panel says of itself.

    Attributes:
        title: a question, or a fact.
        shows: what is drawn.
        good: what it looks like when all is well.
        otherwise: what to do when it does not.
    """

    title: str
    shows: str
    good: str
    otherwise: str

    @property
    def description(self) -> str:
        """Behind the panel's little i."""
        return f"{self.shows}\n\n**Good:** {self.good}\n\n**If not:** {self.otherwise}"


@dataclass(frozen=True)
class Query:
    """One expression of a panel.

    Attributes:
        expr: the PromQL.
        legend: the name of its series.
        exemplars: whether to fetch the exemplars that lead to traces.
    """

    expr: str
    legend: str = "__auto"
    exemplars: bool = False


_AnyPanel = TypeVar("_AnyPanel", timeseries.Panel, heatmap.Panel, stat.Panel, table.Panel)


def graph(
    words: Words,
    unit: str,
    queries: Sequence[Query],
    *,
    width: int = 12,
    stacked: bool = False,
    many: bool = False,
    none: str = "No data",
    reaches: float | None = None,
    colours: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """Lines over time.

    Args:
        words: what it says of itself.
        unit: of its axis.
        queries: whose series it draws.
        width: in columns of the grid.
        stacked: whether they are areas on top of each other instead.
        many: whether there may be many series, which are then listed at the side, the highest first.
        none: shown where there is nothing to draw.
        reaches: the number that the axis goes up to at least.
        colours: of series, by their names; the others take what comes.
    """
    panel = _with_words(timeseries.Panel(), words, width, [_ranged(query) for query in queries])
    panel = (
        panel.unit(unit)
        .min(0)
        .no_value(none)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(0 if stacked else 1)
        .fill_opacity(70 if stacked else 8)
        .gradient_mode(GraphGradientMode.NONE)
        .show_points(VisibilityMode.AUTO)
        .legend(_legend_of_many() if many else _legend())
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    for name, colour in (colours or {}).items():
        panel = panel.override_by_name(name, painted(colour))
    return panel if reaches is None else panel.axis_soft_max(reaches)


def _legend() -> common.VizLegendOptions:
    options = common.VizLegendOptions().show_legend(True).calcs(["lastNotNull", "max"])
    return options.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)


def _legend_of_many() -> common.VizLegendOptions:
    options = common.VizLegendOptions().show_legend(True).calcs(["max"]).sort_by("Max").sort_desc(True)
    return options.display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.RIGHT)


def line(colour: str, *, dashed: bool = True) -> list[DynamicConfigValue]:
    """A series that is drawn as a plain line, in front of what is stacked."""
    return [
        DynamicConfigValue("custom.stacking", {"mode": "none", "group": "A"}),
        DynamicConfigValue("custom.fillOpacity", 0),
        DynamicConfigValue("custom.lineWidth", 2),
        DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 6]} if dashed else {"fill": "solid"}),
        *painted(colour),
    ]


def painted(colour: str) -> list[DynamicConfigValue]:
    """A series in a colour of its own."""
    return [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})]


def number(
    words: Words, unit: str, query: Query, *, warn: float | None, alarm: float | None, width: int = 4
) -> stat.Panel:
    """What is true now, in one number that is orange from `warn` and red from `alarm`."""
    return (
        _with_words(stat.Panel(), words, width, [_instant(query)], height=4)
        .unit(unit)
        .no_value("No data")
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
        .thresholds(thresholds(warn, alarm))
    )


def thresholds(warn: float | None, alarm: float | None) -> dashboard.ThresholdsConfig:
    """Green, orange from one number, red from another."""
    steps = [Threshold(None, "green")]
    steps += [Threshold(value, colour) for value, colour in ((warn, "orange"), (alarm, "red")) if value is not None]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def buckets(words: Words, unit: str, query: Query, *, width: int = 12) -> heatmap.Panel:
    """How a histogram's buckets filled over time, with the exemplars that lead to traces."""
    target = _ranged(query).format(PromQueryFormat.HEATMAP)
    return (
        _with_words(heatmap.Panel(), words, width, [target])
        .unit("reqps")
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .fill("dark-orange")
            .steps(64)
        )
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .cell_gap(1)
        .cell_values(heatmap.CellValues().unit("reqps"))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .show_value(VisibilityMode.NEVER)
        .tooltip(heatmap.HeatmapTooltip().mode(TooltipDisplayMode.SINGLE).y_histogram(True).show_color_scale(True))
        .exemplars_color("rgba(255,0,255,0.7)")
        .show_legend()
    )


def rows(words: Words, unit: str, queries: Sequence[str], *, height: int) -> table.Panel:
    """A row a pool; each query gives a column, `Value #A` and so on."""
    targets = [_instant(Query(expr)).format(PromQueryFormat.TABLE) for expr in queries]
    return (
        _with_words(table.Panel(), words, 24, targets, height=height)
        .unit(unit)
        .show_header(True)
        .min_width(80)
        .cell_options(TableAutoCellOptions())
    )


def ref_id(number: int) -> str:
    """The letter of a panel's query, which are numbered from 0."""
    return chr(ord("A") + number)


def _with_words(
    panel: _AnyPanel, words: Words, width: int, targets: list[prometheus.Dataquery], height: int = HEIGHT
) -> _AnyPanel:
    for number, target in enumerate(targets):
        panel = panel.with_target(target.ref_id(ref_id(number)))
    panel = panel.title(words.title).description(words.description).datasource(PROMETHEUS)
    return panel.span(width).height(height)


def _ranged(query: Query) -> prometheus.Dataquery:
    return _target(query).range().exemplar(query.exemplars)


def _instant(query: Query) -> prometheus.Dataquery:
    return _target(query).instant()


def _target(query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(PROMETHEUS).expr(query.expr).legend_format(query.legend)
