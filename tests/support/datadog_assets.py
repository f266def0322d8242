"""What is wrong with a dashboard or a monitor: by Datadog's own model of them, and by the tables of names."""

import re
from collections.abc import Iterator
from typing import Any, get_args

from datadog_api_client import Configuration, model_utils
from datadog_api_client.exceptions import ApiTypeError
from datadog_api_client.model_utils import ModelComposed, ModelNormal, OpenApiModel
from datadog_api_client.v1.model.dashboard import Dashboard
from datadog_api_client.v1.model.monitor import Monitor

from instrumented_pool import CloseReason, FailReason, Source
from instrumented_pool.metrics import COUNTS, DURATIONS
from instrumented_pool_datadog import _names as names

Json = dict[str, Any]

SENT_BY_OTHERS = {"env", "host"}
"""Keys of tags that the client takes from the environment, and that the agent adds."""

VALUES = {
    "state": {"idle", "used"},
    "outcome": {"acquired", "created", "failed", *get_args(FailReason)},
    "source": set(get_args(Source)),
    "reason": set(get_args(CloseReason)),
}
"""What a pool's own tags may be; what observers are called is up to who writes them."""

# Datadog's client has types only in part.
_convert: Any = model_utils.validate_and_convert_types
_Configuration: Any = Configuration

_COUNTS = {count.name: count for count in COUNTS}
_DURATIONS = {duration.name for duration in DURATIONS}
_QUERY = re.compile(
    r"(?P<space>avg|sum|min|max|p\d\d):(?P<name>[a-z_.]+)\{(?P<scope>[^{}]+)\}"
    r"(?: by \{(?P<by>[^{}]+)\})?(?P<counted>\.as_count\(\))?"
)
_ALERT = re.compile(r"(?P<over>avg|sum|min|max)\(last_\d+[mhd]\):(?P<query>.+) (?P<sign>>=?) (?P<threshold>[\d.]+)")


def faults(document: Json) -> list[str]:
    """In a few words each; none for a document that Datadog takes and that shows what we send."""
    kind = Dashboard if "widgets" in document else Monitor
    found = list(_misfits(document, kind))
    found += _faults_of_dashboard(document) if kind is Dashboard else _faults_of_monitor(document)
    return found


def metrics_in(document: Json) -> set[str]:
    """The names of all metrics that the document asks for."""
    return {str(match["name"]) for match in _QUERY.finditer(str(document))}


# ---------------------------------------------------------------------- by Datadog's model


def _misfits(document: Json, kind: type[OpenApiModel]) -> Iterator[str]:
    try:
        parsed = _convert(document, (kind,), ["$"], True, True, _Configuration())
    except (ApiTypeError, TypeError) as error:
        yield str(error)
    else:
        yield from _unknown(parsed, "$")


def _unknown(value: Any, path: str) -> Iterator[str]:
    """What the client has put aside, because it knows no such value or key."""
    if getattr(value, "_unparsed", False):
        yield f"{path} cannot be parsed"
    if isinstance(value, ModelComposed):
        for instance in value._composed_instances:
            yield from _unknown(instance, path)
    elif isinstance(value, ModelNormal):
        for key, child in value._data_store.items():
            if key not in value.openapi_types:
                yield f"{path}.{key} is unknown"
            yield from _unknown(child, f"{path}.{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _unknown(child, f"{path}[{index}]")


# ---------------------------------------------------------------------- by our tables


def _faults_of_dashboard(dashboard: Json) -> Iterator[str]:
    variables = {variable["name"]: variable.get("prefix") for variable in dashboard["template_variables"]}
    for name, key in variables.items():
        if key not in _keys_of_every_metric():
            yield f"the variable {name} selects by {key}, which no metric has"
    for widget in _widgets(dashboard["widgets"]):
        for field in ("title", "description"):
            if widget["type"] == "timeseries" and not widget.get(field):
                yield f"a {widget['type']} has no {field}"
        for request in widget.get("requests", ()):
            queries = {query["name"]: query["query"] for query in request["queries"]}
            used = {word for each in request["formulas"] for word in re.findall(r"[a-z]\w*", each["formula"])}
            if used != queries.keys():
                yield f"{widget['title']}: formulas use {sorted(used)}, and the queries are {sorted(queries)}"
            for query in queries.values():
                yield from _faults_of_query(query, variables=set(variables))


def _widgets(widgets: list[Json]) -> Iterator[Json]:
    for widget in widgets:
        definition = widget["definition"]
        yield definition
        yield from _widgets(definition.get("widgets", []))


def _faults_of_monitor(monitor: Json) -> Iterator[str]:
    alert = _ALERT.fullmatch(monitor["query"])
    if alert is None:
        yield f"no alert: {monitor['query']}"
        return
    yield from _faults_of_query(alert["query"], variables=set())
    if float(alert["threshold"]) != monitor["options"]["thresholds"]["critical"]:
        yield f"the query's threshold is not the critical one: {alert['threshold']}"
    if ".as_count()" in alert["query"] and alert["over"] != "sum":
        yield f"counts are added up, not {alert['over']}"
    query = _QUERY.fullmatch(alert["query"])
    groups = query["by"].split(",") if query and query["by"] else []
    for group in re.findall(r"\{\{(\w+)\.name\}\}", monitor["name"] + monitor["message"]):
        if group not in groups:
            yield f"{{{{{group}.name}}}} is said, and the alert is by {groups}"


def _faults_of_query(text: str, *, variables: set[str]) -> Iterator[str]:
    query = _QUERY.fullmatch(text)
    if query is None:
        yield f"no query: {text}"
        return
    name = query["name"]
    if name not in _COUNTS and name not in _DURATIONS:
        yield f"no such metric: {name}"
        return
    count = _COUNTS.get(name)
    if query["space"].startswith("p") and count is not None:
        yield f"{name} is no distribution, and has no {query['space']}"
    if bool(query["counted"]) != (count is not None and count.kind == "counter"):
        yield f"{name} is {'not ' if query['counted'] else ''}to be counted"
    own = {names.key(label) for label in count.labels} if count else set[str]()
    for key in query["by"].split(",") if query["by"] else ():
        if key not in own | _keys_of_every_metric():
            yield f"{name} has no tag {key}"
    for term in query["scope"].split(","):
        yield from _faults_of_term(name, term, own, variables)


def _faults_of_term(name: str, term: str, own: set[str], variables: set[str]) -> Iterator[str]:
    key, _, value = term.partition(":")
    if term.startswith("$"):
        if term[1:] not in variables:
            yield f"no such variable: {term}"
    elif term != "*":
        if key not in own:
            yield f"{name} has no tag {key}"
        elif value not in VALUES.get(key, {value}):
            yield f"{key} is never {value}"


def _keys_of_every_metric() -> set[str]:
    return SENT_BY_OTHERS | {tag.partition(":")[0] for tag in names.pool_tags("", "", {})}
