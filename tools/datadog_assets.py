"""Write Datadog's dashboard and monitors, as the JSON that its API and its importer take: `make datadog-assets`.

Every metric is looked up in the tables that the exporter sends from: what is not there is a KeyError.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from instrumented_pool.metrics import COUNTS, DURATIONS, Count
from instrumented_pool_datadog._names import POOL_KEY, SERVICE_KEY

ASSETS = Path(__file__).parents[1] / "exporters" / "instrumented_pool_datadog" / "assets"

Json = dict[str, Any]

METRICS = {metric.name: metric for metric in (*COUNTS, *DURATIONS)}
VARIABLES = ("env", SERVICE_KEY, POOL_KEY)
BY_POOL = (SERVICE_KEY, POOL_KEY)
BY_PROCESS = (*BY_POOL, "host")

CONNECTIONS = "db.client.connection.count"
MOST = "db.client.connection.max"
WAITING = "db.client.connection.pending_requests"
TIMEOUTS = "db.client.connection.timeouts"
WAIT, USE, CREATE = (f"db.client.connection.{verb}_time" for verb in ("wait", "use", "create"))
CREATES = "instrumented_pool.creates"
BURSTING = "instrumented_pool.bursting"
HOLD = "instrumented_pool.oldest_hold"
LEAKS = "instrumented_pool.leaks_suspected"


def query(space: str, name: str, *only: str, scope: Iterable[str], by: Iterable[str] = BY_POOL) -> str:
    """A query of a metric: `space` is how its hosts are put together, `only` tags with their values."""
    metric = METRICS[name]
    groups = ",".join(by)
    grouped = f" by {{{groups}}}" if groups else ""
    counted = ".as_count()" if isinstance(metric, Count) and metric.kind == "counter" else ""
    return f"{space}:{name}{{{','.join((*only, *scope))}}}{grouped}{counted}"


# ---------------------------------------------------------------------- the dashboard


def shown(space: str, name: str, *only: str, by: Iterable[str] = BY_POOL) -> str:
    """A query for what the variables at the top of the dashboard select."""
    return query(space, name, *only, scope=(f"${name}" for name in VARIABLES), by=by)


def percentiles(name: str) -> dict[str, str]:
    return {f"p{percent}": shown(f"p{percent}", name) for percent in (50, 95, 99)}


def plot(display: str, queries: Mapping[str, str], *, formula: str = "", unit: str = "") -> Json:
    """One kind of lines in a graph: each query under its name, or what `formula` makes of them."""
    formulas: list[Json] = [{"formula": formula}] if formula else [{"formula": name, "alias": name} for name in queries]
    if unit:
        for each in formulas:
            each["number_format"] = {"unit": {"type": "canonical_unit", "unit_name": unit}}
    return {
        "response_format": "timeseries",
        "queries": [{"data_source": "metrics", "name": name, "query": text} for name, text in queries.items()],
        "formulas": formulas,
        "display_type": display,
    }


def graph(title: str, description: str, *plots: Json, marker: str = "") -> Json:
    definition: Json = {
        "type": "timeseries",
        "title": title,
        "description": description,
        "show_legend": True,
        "legend_layout": "auto",
        "yaxis": {"include_zero": True},
        "requests": list(plots),
    }
    if marker:
        definition["markers"] = [{"value": marker, "display_type": "error dashed"}]
    return {"definition": definition}


def group(title: str, *widgets: Json) -> Json:
    return {"definition": {"type": "group", "layout_type": "ordered", "title": title, "widgets": list(widgets)}}


def note(content: str) -> Json:
    return {"definition": {"type": "note", "content": content, "font_size": "14", "background_color": "white"}}


READING = """\
**Why did a request wait, and who holds the connections?**

Callers wait while every connection is lent: see whether *saturation* stays at 100 %, whether it is connections that are
*slow to come* (Connecting) or ones that are *held for long* (Holding), and open a trace of the service: the span
`….pool.acquire_connection` shows what its request waited for.

Percentiles have to be switched on for the three `_time` metrics, in the metrics summary."""


def dashboard() -> Json:
    return {
        "title": "Connection pools",
        "description": "The pools that instrumented_pool_datadog.DatadogObserver reports.",
        "layout_type": "ordered",
        "reflow_type": "auto",
        "template_variables": [{"name": name, "prefix": name, "defaults": ["*"]} for name in VARIABLES],
        "widgets": [note(READING), enough(), waiting(), connecting(), holding(), observers()],
    }


def enough() -> Json:
    lent, most = shown("sum", CONNECTIONS, "state:used"), shown("sum", MOST)
    states = {
        "used": shown("sum", CONNECTIONS, "state:used", by=()),
        "idle": shown("sum", CONNECTIONS, "state:idle", by=()),
        "creating": shown("sum", "instrumented_pool.connection.creating", by=()),
        "closing": shown("sum", "instrumented_pool.connection.closing", by=()),
    }
    limits = {
        "hard_limit": shown("sum", MOST, by=()),
        "soft_limit": shown("sum", "db.client.connection.idle.max", by=()),
        "kept": shown("sum", "db.client.connection.idle.min", by=()),
    }
    return group(
        "Are there enough connections?",
        graph(
            "Saturation",
            "Connections that are lent, of the most that there may be. At 100 % the next caller waits.",
            plot("line", {"lent": lent, "most": most}, formula="100 * lent / most", unit="percent"),
            marker="y = 100",
        ),
        graph(
            "Connections",
            "By state, and the soft limit that pools keep and the hard one that they burst to.",
            plot("area", states),
            plot("line", limits),
        ),
        graph(
            "Bursts",
            "How many pools are above their soft limit, and how often one rose above it.",
            plot("line", {"bursting": shown("sum", BURSTING)}),
            plot("bars", {"bursts": shown("sum", "instrumented_pool.bursts")}),
        ),
    )


def waiting() -> Json:
    return group(
        "Do callers wait?",
        graph("Waiting", "Callers in the queue.", plot("line", {"waiting": shown("sum", WAITING)})),
        graph("Time to get a connection", "Of those that got one.", plot("line", percentiles(WAIT), unit="second")),
        graph("Time-outs", "Callers that gave up.", plot("bars", {"timeouts": shown("sum", TIMEOUTS)})),
        graph(
            "Acquires",
            "By outcome, and where the connection came from: idle, new, or handed over by the caller before.",
            plot("bars", {"acquires": shown("sum", "instrumented_pool.acquires", by=("outcome", "source"))}),
        ),
    )


def connecting() -> Json:
    return group(
        "Connecting",
        graph("Creations", "By outcome.", plot("bars", {"creates": shown("sum", CREATES, by=("outcome",))})),
        graph("Time to connect", "Of creations that succeeded.", plot("line", percentiles(CREATE), unit="second")),
        graph(
            "Closes",
            "Why connections left: stale and dirty ones are lost to the server or to a cancelled caller.",
            plot("bars", {"closes": shown("sum", "instrumented_pool.closes", by=("reason",))}),
        ),
        graph(
            "Close errors",
            "Closes that failed or took too long.",
            plot("bars", {"close_errors": shown("sum", "instrumented_pool.close_errors")}),
        ),
    )


def holding() -> Json:
    return group(
        "Holding",
        graph(
            "Oldest hold",
            "How long the connection that is lent the longest has been lent.",
            plot("line", {"oldest_hold": shown("max", HOLD)}, unit="second"),
        ),
        graph("Time of use", "From borrowing to giving back.", plot("line", percentiles(USE), unit="second")),
        graph("Leaks suspected", "Holds longer than leak_after.", plot("bars", {"leaks": shown("sum", LEAKS)})),
    )


def observers() -> Json:
    errors = {"observer_errors": shown("sum", "instrumented_pool.observer_errors")}
    seconds = {"observer_time": shown("sum", "instrumented_pool.observer_time", by=("observer",))}
    return group(
        "Observers",
        graph("Observer errors", "Hooks that raised; the log says which.", plot("bars", errors)),
        graph("Observer time", "What they take of the event loop.", plot("bars", seconds, unit="second")),
    )


# ---------------------------------------------------------------------- the monitors


def monitor(
    name: str, text: str, message: str, *, critical: float, comparator: str, warning: float | None = None
) -> Json:
    thresholds = {"critical": critical} if warning is None else {"critical": critical, "warning": warning}
    return {
        "name": f"{name}: pool {{{{pool.name}}}} of {{{{service.name}}}}",
        "type": "query alert",
        "query": f"{text} {comparator} {critical:g}",
        "message": message,
        "tags": ["integration:instrumented-pool"],
        "priority": 3,
        "options": {
            "thresholds": thresholds,
            "include_tags": True,
            "require_full_window": False,
            # What is not counted is not sent, and a pool that is gone has no trouble.
            "on_missing_data": "resolve",
        },
    }


def watched(space: str, name: str, *only: str, by: Iterable[str] = BY_POOL) -> str:
    """A query for everything that is reported."""
    return query(space, name, *only, scope=() if only else ("*",), by=by)


def monitors() -> dict[str, Json]:
    return {
        "pool_exhausted": monitor(
            "Connection pool exhausted",
            f"min(last_5m):{watched('sum', WAITING, by=BY_PROCESS)}",
            "On {{host.name}} callers have queued for five minutes without a break. Look at the dashboard for who holds"
            " the connections and for how long, and in the log for a PoolTimeoutError, which names the holders. If the"
            " holds are short, the pool is too small for its load.",
            comparator=">",
            critical=0,
        ),
        "pool_timeouts": monitor(
            "Callers time out",
            f"sum(last_5m):{watched('sum', TIMEOUTS)}",
            "{{value}} callers gave up waiting for a connection within five minutes. The PoolTimeoutError in the log"
            " names who held the connections, for how long, and where in the code.",
            comparator=">",
            critical=0,
        ),
        "pool_burst_sustained": monitor(
            "Connection pool keeps bursting",
            f"min(last_15m):{watched('max', BURSTING, by=BY_PROCESS)}",
            "On {{host.name}} the pool has been above its soft limit for fifteen minutes: what was meant for peaks has"
            " become the rule. Raise max_size, or find out why connections are held for longer than they were.",
            comparator=">=",
            critical=1,
        ),
        "pool_creation_failing": monitor(
            "Connections cannot be made",
            f"sum(last_5m):{watched('sum', CREATES, 'outcome:failed')}",
            "{{value}} attempts to connect failed within five minutes. Is the server there, does it take more"
            " connections, do the credentials hold? The span pool._create_new_connection has the error.",
            comparator=">",
            critical=3,
            warning=0,
        ),
        "pool_leak_suspected": monitor(
            "Connection held for too long",
            f"sum(last_15m):{watched('sum', LEAKS)}",
            "{{value}} connections were held for longer than leak_after. pool.holders() says by which task, and where"
            " in the code it is now.",
            comparator=">",
            critical=0,
        ),
    }


def documents() -> dict[str, Json]:
    """Everything, by its path below `ASSETS`."""
    return {
        "dashboards/connection_pools.json": dashboard(),
        **{f"monitors/{name}.json": body for name, body in monitors().items()},
    }


def text(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    for path, document in documents().items():
        file = ASSETS / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text(document))
        print(file.relative_to(Path.cwd()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
