"""Pool fleet: every pool of every service, the worst first."""

from grafana_foundation_sdk.builders import common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

from instrumented_pool.metrics import ACQUIRE_OUTCOME, CREATE_OUTCOME

from ._boards import DETAIL, FLEET, board, board_link, pool_variable, row_url
from ._panels import ANY, NONE, Query, Words, graph, number, ref_id, rows, thresholds
from ._queries import (
    EACH_POOL,
    POOL,
    bursting,
    demand,
    hard_limit,
    in_use,
    matching,
    other_than,
    quantile,
    rate,
    saturation,
    timeouts,
    top,
    total,
    waiting,
)

WAIT = "db.client.connection.wait_time"
SHOWN = 10  # pools that a graph shows at most
LEGEND = f"{{{{job}}}} {{{{{POOL}}}}}"

_BY_SERVICE = ("job", POOL)
_REFUSED = other_than(ACQUIRE_OUTCOME, "acquired", "timeout", "cancelled")
_NAMES = dict(zip(EACH_POOL, ("Service", "Instance", "Pool"), strict=True))


def fleet() -> dashboard.Dashboard:
    """Build the dashboard."""
    made = board(FLEET, "Pool fleet", "Every pool of every service: which one needs you?")
    made = made.with_variable(pool_variable(several=True)).link(board_link("Pool detail", DETAIL))
    for panel in (*_now(), _table(), *_graphs()):
        made = made.with_panel(panel)
    return made


def _now() -> list[stat.Panel]:
    return [
        number(
            Words(
                "How many pools report?",
                "Pools of the chosen services and instances that were scraped last.",
                "the number that you run.",
                "look for targets that are down (`up == 0`), or for instances without telemetry.",
            ),
            "short",
            Query(f"count({hard_limit(*EACH_POOL)})"),
            warn=None,
            alarm=None,
        ),
        number(
            Words(
                "How many are full?",
                "Pools that have lent every connection of their hard limit.",
                "0. A full pool makes the next caller wait.",
                "open the first row of the table: demand is above the limit, or somebody holds on to what he has.",
            ),
            "short",
            Query(f"sum({saturation(*EACH_POOL)} >= bool 1)"),
            warn=1,
            alarm=None,
        ),
        number(
            Words(
                "How many burst?",
                "Pools that have more connections than their soft limit, `max_size`.",
                "0, or a few for moments: a burst is a reserve, not a size.",
                "a pool that bursts for long is too small, or its server is slow.",
            ),
            "short",
            Query(bursting()),
            warn=1,
            alarm=None,
        ),
        number(
            Words(
                "How many callers wait?",
                "Callers in the queues of all pools.",
                "0 most of the time.",
                "sort the table by Waiting, and open the pool.",
            ),
            "short",
            Query(waiting()),
            warn=1,
            alarm=None,
        ),
        number(
            Words(
                "Does anybody give up?",
                "Callers that got no connection in time, per second.",
                "0. Each of them is a request that failed.",
                "sort the table by Time-outs, and open the pool: the error in your log names who held its connections.",
            ),
            "reqps",
            Query(timeouts()),
            warn=None,
            alarm=ANY,
        ),
        number(
            Words(
                "Do connects fail?",
                "Attempts to connect that failed, per second.",
                "0.",
                "a server is down, refuses us, or the network is: look at the table's Failures.",
            ),
            "cps",
            Query(total(rate("instrumented_pool.creates", matching(CREATE_OUTCOME, "failed")))),
            warn=None,
            alarm=ANY,
        ),
    ]


def _table() -> table.Panel:
    by = EACH_POOL
    pressure = f"({in_use(*by)} + {waiting(*by)}) / {hard_limit(*by)}"
    columns = {
        "Pressure": pressure,
        "Saturation": saturation(*by),
        "Waiting": waiting(*by),
        "Demand": demand(*by),
        "Hard limit": hard_limit(*by),
        "p50 wait": f"{quantile(0.5, WAIT, *by)} >= 0",
        "p95 wait": f"{quantile(0.95, WAIT, *by)} >= 0",
        "p99 wait": f"{quantile(0.99, WAIT, *by)} >= 0",
        "Time-outs": timeouts(*by),
        "Failures": total(rate("instrumented_pool.acquires", _REFUSED), *by),
        "Bursting": bursting(*by),
    }
    words = Words(
        "Which pool is the worst?",
        "A row for each pool of each instance. Pressure is who has a connection and who waits for one, as a share of "
        "the hard limit: above 100 % callers queue. Demand is the average of connections in use. Failures are "
        "acquires that failed for another reason than a time-out or the caller's own cancellation. Click a pool for "
        "its detail.",
        "pressure below 80 %, waits of milliseconds, no time-outs, no failures.",
        "open the pool of the first row.",
    )
    panel = rows(words, "short", list(columns.values()), height=10)
    panel = panel.transformations(
        [DataTransformerConfig("merge", options={}), DataTransformerConfig("organize", options=_order(columns))]
    )
    panel = panel.sort_by([common.TableSortByFieldState().display_name("Pressure").desc(True)])
    for names, properties in _STYLES.items():
        panel = panel.override_by_regexp(names, properties)
    return panel


def _order(columns: dict[str, str]) -> dict[str, object]:
    values = {f"Value #{ref_id(number)}": name for number, name in enumerate(columns)}
    fields = [*EACH_POOL, *values]
    return {
        "excludeByName": {"Time": True},
        "indexByName": {field: index for index, field in enumerate(fields)},
        "renameByName": {**_NAMES, **values},
    }


def _style(unit: str, warn: float | None, alarm: float | None, cell: str) -> list[DynamicConfigValue]:
    return [
        DynamicConfigValue("unit", unit),
        DynamicConfigValue("thresholds", thresholds(warn, alarm).build()),
        DynamicConfigValue("custom.cellOptions", {"type": cell}),
    ]


_STYLES = {
    "/^(?!Service$|Instance$|Pool$)/": [DynamicConfigValue("custom.width", 85)],  # so that names have the rest
    "/^(Service|Instance|Pool)$/": [
        DynamicConfigValue("links", [{"title": "Open the detail of this pool", "url": row_url(*_NAMES.values())}]),
    ],
    "/^(Pressure|Saturation)$/": [
        *_style("percentunit", 0.8, 1.0, "color-background"),
        DynamicConfigValue("decimals", 0),
    ],
    "/^Waiting$/": _style("short", 1, None, "color-text"),
    "/^Demand$/": [DynamicConfigValue("decimals", 1)],
    "/ wait$/": _style("s", 0.1, 1.0, "color-text"),
    "/^(Time-outs|Failures)$/": _style("reqps", None, ANY, "color-text"),
    "/^Bursting$/": [
        *_style("bool_yes_no", 1, None, "color-text"),
    ],
}


def _graphs() -> list[timeseries.Panel]:
    return [
        graph(
            Words(
                "Which pools are full?",
                f"Connections in use as a share of the hard limit: the {SHOWN} fullest pools, instances added up.",
                "below 80 %, with room for a surge.",
                "at 100 % callers queue. Compare with the demand beside it: high as well, then the pool is too small "
                "or its server is slow; low, then somebody holds connections without using them.",
            ),
            "percentunit",
            [Query(top(SHOWN, saturation(*_BY_SERVICE)), LEGEND)],
            reaches=1,
            many=True,
        ),
        graph(
            Words(
                "How many connections does the demand need?",
                "Seconds of use that were had in a second, which is the average of connections in use "
                f"(Little's law): the {SHOWN} busiest pools.",
                "well below the sum of the soft limits.",
                "near the limit, give the pool more connections or use each for a shorter time.",
            ),
            "short",
            [Query(top(SHOWN, demand(*_BY_SERVICE)), LEGEND)],
            many=True,
        ),
        graph(
            Words(
                "Who waits?",
                f"Callers in the queue: the {SHOWN} longest queues.",
                "0, but for moments.",
                "a queue that stays is a pool that is too small, a server that is slow or a connection that is kept.",
            ),
            "short",
            [Query(top(SHOWN, waiting(*_BY_SERVICE)), LEGEND)],
            many=True,
        ),
        graph(
            Words(
                "How long do callers wait?",
                "What half, 95 % and 99 % of all acquires stay below. An idle connection is a wait of nothing.",
                "p99 far below what a request may take.",
                "the graph beside this one says in which pools.",
            ),
            "s",
            [Query(quantile(q, WAIT), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)],
        ),
        graph(
            Words(
                "Where do callers wait the longest?",
                f"What 99 % of the acquires of a pool stay below: the {SHOWN} slowest pools.",
                "far below what a request may take.",
                "open the pool's detail: its exemplars lead to the traces of who waited.",
            ),
            "s",
            [Query(f"{top(SHOWN, quantile(0.99, WAIT, *_BY_SERVICE))} > 0", LEGEND)],
            none=NONE,
            many=True,
        ),
        graph(
            Words(
                "Where do callers give up?",
                "Time-outs per second, of pools that have any.",
                "nothing is drawn.",
                "open the pool's detail, and read the error in your log: it names who held the connections.",
            ),
            "reqps",
            [Query(f"{timeouts(*_BY_SERVICE)} > 0", LEGEND)],
            none=NONE,
            many=True,
        ),
        graph(
            Words(
                "What else fails?",
                "Per second: acquires that failed for another reason than a time-out or a cancellation, connects that "
                "failed, closes that failed.",
                "nothing is drawn.",
                "connects that fail are a server or a network that is down; `queue_full` and `deadlock` are the "
                "pool's protection of your service: open the detail.",
            ),
            "cps",
            [
                Query(f"{total(rate('instrumented_pool.acquires', _REFUSED), *_BY_SERVICE)} > 0", f"{LEGEND} acquires"),
                Query(
                    f"{total(rate('instrumented_pool.creates', matching(CREATE_OUTCOME, 'failed')), *_BY_SERVICE)} > 0",
                    f"{LEGEND} connects",
                ),
                Query(f"{total(rate('instrumented_pool.close_errors'), *_BY_SERVICE)} > 0", f"{LEGEND} closes"),
            ],
            none=NONE,
            many=True,
        ),
        graph(
            Words(
                "Which pools burst?",
                "Instances whose pool has more connections than its soft limit.",
                "nothing is drawn, or something short.",
                "a burst that lasts is a soft limit that is too low for the demand, or a server that became slow.",
            ),
            "short",
            [Query(f"{bursting(*_BY_SERVICE)} > 0", LEGEND)],
            none=NONE,
            many=True,
        ),
    ]
