"""What the two dashboards have in common: variables, links, and the way from one to the other."""

import json
from collections.abc import Sequence
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from instrumented_pool.metrics import POOL_NAME
from instrumented_pool_otel._names import ACQUIRE_SPAN

from ._panels import PROMETHEUS
from ._queries import EACH_POOL, POOL, series

FLEET, DETAIL = "instrumented-pool-fleet", "instrumented-pool-detail"
TAG = "instrumented-pool"

_TRACERS = {"tempo": "Tempo", "jaeger": "Jaeger"}
_POOL_CHOSEN = "${pool:percentencode}"  # in an address, where the # of name#2 would end it
_ALL = VariableOption(selected=True, text="All", value="$__all")


def board(uid: str, title: str, description: str) -> dashboard.Dashboard:
    """A dashboard without panels."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .variables([_data_source("prometheus", "Prometheus"), *(_label(label) for label in ("job", "instance"))])
    )


def pool_variable(*, several: bool) -> dashboard.QueryVariable:
    """Which pools: all of them, or those that are picked.

    Both take several, for then Grafana escapes what a regular expression would read in a name.
    """
    variable = _choice("pool", "Pool", POOL, after=EACH_POOL[:2]).multi(True)
    return variable.include_all(True).all_value(".+").current(_ALL) if several else variable.include_all(False)


def tracer_variables() -> list[dashboard.DatasourceVariable]:
    """Where the links to traces lead."""
    return [_data_source(kind, name) for kind, name in _TRACERS.items()]


def board_link(title: str, uid: str) -> dashboard.DashboardLink:
    """The way to the other dashboard, at the same time and of the same pools."""
    return (
        dashboard.DashboardLink(title)
        .type(DashboardLinkType.LINK)
        .url(f"/d/{uid}")
        .icon("dashboard")
        .include_vars(True)
        .keep_time(True)
    )


def trace_links() -> list[dashboard.DashboardLink]:
    """To the acquires of the pool that somebody waited for, in Tempo and in Jaeger."""
    tempo = {
        "queryType": "traceql",
        "query": f'{{ name = "{ACQUIRE_SPAN}" && span.{POOL_NAME} = "{_POOL_CHOSEN}" }}',
    }
    jaeger = {
        "queryType": "search",
        "service": "${job:percentencode}",
        "operation": ACQUIRE_SPAN,
        "tags": f"{POOL_NAME}={_POOL_CHOSEN}",
    }
    return [_explore("tempo", tempo), _explore("jaeger", jaeger)]


def row_url(*columns: str) -> str:
    """From a row of a table, whose columns are named, to the detail of its pool."""
    chosen = zip(("job", "instance", "pool"), columns, strict=True)
    choices = [f"var-{variable}=${{__data.fields.{column}:percentencode}}" for variable, column in chosen]
    return f"/d/{DETAIL}?" + "&".join(["${__url_time_range}", "${prometheus_datasource:queryparam}", *choices])


def as_json(built: dashboard.Dashboard) -> str:
    """The text of the committed file."""
    model = built.build()
    for number, panel in enumerate(model.panels or [], start=1):
        panel.id_val = number
    tree = json.loads(JSONEncoder().encode(model))
    for each in (*tree["links"], *tree["annotations"].get("list", ())):
        del each["placement"]  # the SDK hides links and annotations in a menu, and knows no other place
    for each in tree["templating"]["list"]:
        for key in ("auto", "auto_count", "auto_min"):  # of variables of another kind
            del each[key]
    for panel in tree["panels"]:
        panel.get("options", {}).pop("footer", None)  # Grafana 13 has none
    return json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _data_source(kind: str, name: str) -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable(f"{kind}_datasource").label(f"{name} data source").type(kind)


def _label(label: str) -> dashboard.QueryVariable:
    after = EACH_POOL[: EACH_POOL.index(label)]
    variable = _choice(label, label.capitalize(), label, after)
    return variable.multi(True).include_all(True).all_value(".+").current(_ALL)


def _choice(name: str, label: str, of: str, after: Sequence[str]) -> dashboard.QueryVariable:
    """A variable whose values are a label's, of the series that the variables before it leave."""
    metric = series("db.client.connection.max").partition("{")[0]
    chosen = ", ".join(f'{each}=~"${each}"' for each in after)
    query = f"label_values({metric}{{{chosen}}}, {of})" if chosen else f"label_values({metric}, {of})"
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .hide(VariableHide.DONT_HIDE)
    )


def _explore(kind: str, query: dict[str, str]) -> dashboard.DashboardLink:
    uid = f"${{{kind}_datasource}}"
    pane = {
        "datasource": uid,
        "queries": [{"refId": "A", "datasource": {"type": kind, "uid": uid}, **query}],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    panes = quote(json.dumps({"pool": pane}, separators=(",", ":")), safe="${}:,_[]")
    return (
        dashboard.DashboardLink(f"Traces in {_TRACERS[kind]}")
        .type(DashboardLinkType.LINK)
        .url(f"/explore?schemaVersion=1&panes={panes}")
        .icon("external link")
        .tooltip("The acquires of this pool that waited, at this time")
        .target_blank(True)
    )
