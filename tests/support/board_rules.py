"""The 17 rules of Grafana's dashboard-linter, reimplemented: each takes a dashboard and says what is wrong with it."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import promql_parser
from promql_parser import Call, Expr, MatchOp, MatrixSelector, VectorSelector

from support.boards import Json, expressions, filled, panels, variables

Rule: TypeAlias = Callable[[Json], Iterable[str]]

RULES: dict[str, Rule] = {}

# What a unit of ours may be, of the many that Grafana knows.
UNITS = {"bool_yes_no", "cpm", "cps", "percentunit", "reqps", "s", "short"}

_MAGIC = "17s"  # stands for $__rate_interval where a query is parsed


def _rule(name: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES[name] = rule
        return rule

    return register


@_rule("template-datasource-rule")
def _template_datasource(board: Json) -> Iterator[str]:
    """There is a variable for the data source, named and labelled after what it is."""
    found = [each for each in board["templating"]["list"] if each["type"] == "datasource"]
    if not found:
        yield "no variable of a data source"
    for each in found:
        alone = len(found) == 1
        if each["name"] not in {f"{each['query']}_datasource", *(["datasource"] if alone else [])}:
            yield f"{each['name']} is no name for a data source of {each['query']}"
        if each["label"] not in {f"{each['query'].title()} data source", *(["Data source"] if alone else [])}:
            yield f"{each['label']} is no label for a data source of {each['query']}"


def _template(board: Json, name: str) -> Iterator[str]:
    variable = variables(board).get(name)
    if variable is None:
        yield f"no variable {name}"
        return
    wanted = {"type": "query", "label": name.title(), "multi": True, "includeAll": True, "allValue": ".+"}
    for key, value in wanted.items():
        if variable.get(key) != value:
            yield f"{name}.{key} is {variable.get(key)!r} and not {value!r}"
    if variable.get("datasource", {}).get("uid") != "${prometheus_datasource}":
        yield f"{name} does not ask the chosen data source"


@_rule("template-job-rule")
def _template_job(board: Json) -> Iterator[str]:
    """There is a variable for the job, of which any number can be chosen."""
    return _template(board, "job")


@_rule("template-instance-rule")
def _template_instance(board: Json) -> Iterator[str]:
    """There is a variable for the instance, of which any number can be chosen."""
    return _template(board, "instance")


@_rule("template-label-promql-rule")
def _template_label_promql(board: Json) -> Iterator[str]:
    """A variable that is asked for asks for the values of a label, of a selector that can be parsed."""
    for variable in _asked(board):
        found = re.fullmatch(r"label_values\((.+), *(\w+)\)", variable["query"])
        if found is None:
            yield f"{variable['name']} does not ask for the values of a label"
        elif not _parses(found[1]):
            yield f"{variable['name']} asks what cannot be parsed"


@_rule("template-on-time-change-reload-rule")
def _template_on_time_change_reload(board: Json) -> Iterator[str]:
    """A variable that is asked for is asked for again when the time changes."""
    return (f"{each['name']} is not refreshed" for each in _asked(board) if each["refresh"] != 2)


@_rule("panel-datasource-rule")
def _panel_datasource(board: Json) -> Iterator[str]:
    """Panels and their queries ask the data source that is chosen, and no other."""
    chosen = {f"${{{name}}}" for name, each in variables(board).items() if each["type"] == "datasource"}
    for panel in panels(board):
        for asks in (panel, *panel.get("targets", ())):
            if asks.get("datasource", {}).get("uid") not in chosen:
                yield f"{panel['title']} asks a data source that nobody chose"


@_rule("panel-title-description-rule")
def _panel_title_description(board: Json) -> Iterator[str]:
    """A panel has a title and a description."""
    for panel in panels(board):
        yield from (f"{panel['title']!r} has no {key}" for key in ("title", "description") if not panel.get(key))


@_rule("panel-units-rule")
def _panel_units(board: Json) -> Iterator[str]:
    """A panel has a unit, and it is one that Grafana knows."""
    for panel in panels(board):
        config = panel["fieldConfig"]
        overridden = [
            each for override in config["overrides"] for each in override["properties"] if each["id"] == "unit"
        ]
        for unit in (config["defaults"].get("unit"), *(each["value"] for each in overridden)):
            if unit not in UNITS:
                yield f"{panel['title']} has the unit {unit!r}"


@_rule("panel-no-targets-rule")
def _panel_no_targets(board: Json) -> Iterator[str]:
    """A panel asks something."""
    return (f"{panel['title']} asks nothing" for panel in panels(board) if not panel.get("targets"))


@_rule("target-logql-rule")
def _target_logql(board: Json) -> Iterator[str]:
    """LogQL can be parsed; here, nothing asks a data source of logs."""
    return _of_logs(board)


@_rule("target-logql-auto-rule")
def _target_logql_auto(board: Json) -> Iterator[str]:
    """LogQL has ranges of [$__auto]; here, nothing asks a data source of logs."""
    return _of_logs(board)


@_rule("target-promql-rule")
def _target_promql(board: Json) -> Iterator[str]:
    """Every expression can be parsed."""
    return (f"{where} cannot be parsed" for where, expr in expressions(board) if not _parses(filled(expr)))


@_rule("target-rate-interval-rule")
def _target_rate_interval(board: Json) -> Iterator[str]:
    """Whatever looks back looks back for $__rate_interval."""
    magic = promql_parser.parse_duration(_MAGIC)
    for where, node, _ in _nodes(board):
        if isinstance(node, MatrixSelector) and node.range != magic:
            yield f"{where} looks back for {node.range}"


@_rule("target-job-rule")
def _target_job(board: Json) -> Iterator[str]:
    """Every selector asks for the chosen jobs."""
    return _unmatched(board, "job")


@_rule("target-instance-rule")
def _target_instance(board: Json) -> Iterator[str]:
    """Every selector asks for the chosen instances."""
    return _unmatched(board, "instance")


@_rule("target-counter-agg-rule")
def _target_counter_agg(board: Json) -> Iterator[str]:
    """A counter is shown by how much it rises."""
    for where, node, parents in _nodes(board):
        if isinstance(node, VectorSelector) and (node.name or "").endswith("_total"):
            calls = [parent.func.name for parent in parents[-2:] if isinstance(parent, Call)]
            if not {"rate", "irate", "increase"} & set(calls):
                yield f"{where} shows {node.name} as it is"


@_rule("uneditable-dashboard")
def _uneditable(board: Json) -> Iterator[str]:
    """What is provisioned cannot be edited, or the edits would be lost."""
    if board["editable"] is not False:
        yield "it can be edited"


def _asked(board: Json) -> list[Json]:
    return [each for each in board["templating"]["list"] if each["type"] == "query"]


def _of_logs(board: Json) -> Iterator[str]:
    for panel in panels(board):
        for asks in (panel, *panel.get("targets", ())):
            if asks.get("datasource", {}).get("type") == "loki":
                yield f"{panel['title']} asks for logs"


def _unmatched(board: Json, label: str) -> Iterator[str]:
    for where, node, _ in _nodes(board):
        if isinstance(node, VectorSelector):
            found = [(each.op, each.value) for each in node.matchers.matchers if each.name == label]
            if found != [(MatchOp.Re, f"${label}")]:
                yield f"{where} selects {node.name} of jobs or instances that nobody chose"


def _parses(expr: str) -> bool:
    try:
        promql_parser.parse(expr)
    except ValueError:
        return False
    return True


def _nodes(board: Json) -> Iterator[tuple[str, Expr, tuple[Expr, ...]]]:
    """Every node of every expression, where it is, and what it stands in; what cannot be parsed has none."""
    for where, expr in expressions(board):
        text = expr.replace("$__rate_interval", _MAGIC)
        if _parses(text):
            yield from ((where, node, parents) for node, parents in _walked(promql_parser.parse(text)))


def _walked(expr: Expr) -> list[tuple[Expr, tuple[Expr, ...]]]:
    found: list[tuple[Expr, tuple[Expr, ...]]] = []
    path: list[Expr] = []

    def enter(node: Expr) -> None:
        found.append((node, tuple(path)))
        path.append(node)

    def leave(_: Expr) -> None:
        path.pop()

    promql_parser.walk(expr, enter, leave)
    return found
