"""Pool detail: one pool, in the order of the questions."""

from collections.abc import Callable

from grafana_foundation_sdk.builders import dashboard, prometheus, stat

from instrumented_pool.metrics import (
    ACQUIRE_OUTCOME,
    ACQUIRE_SOURCE,
    CLOSE_REASON,
    CREATE_OUTCOME,
    OBSERVER,
)
from instrumented_pool_prometheus._names import identifier

from ._boards import DETAIL, FLEET, board, board_link, pool_variable, trace_links, tracer_variables
from ._panels import ANY, NONE, PROMETHEUS, Panel, Query, Words, buckets, graph, line, number
from ._queries import (
    bursting,
    demand,
    duration_rate,
    hard_limit,
    highest,
    idle,
    in_use,
    matching,
    other_than,
    quantile,
    rate,
    saturation,
    series,
    soft_limit,
    timeouts,
    total,
    waiting,
)

CREATE, WAIT, USE = (f"db.client.connection.{name}_time" for name in ("create", "wait", "use"))
ACQUIRES, CREATES, CLOSES = (f"instrumented_pool.{name}" for name in ("acquires", "creates", "closes"))
FAILED = matching(CREATE_OUTCOME, "failed")

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_OF_QUANTILES = {"p50": "green", "p95": "yellow", "p99": "orange"}
_OF_FAILURES = {
    "timeout": "red",
    "create_error": "orange",
    "queue_full": "purple",
    "deadlock": "dark-red",
    "pool_closed": "blue",
    "cancelled": "gray",
}


def detail() -> dashboard.Dashboard:
    """Build the dashboard."""
    made = board(
        DETAIL,
        "Pool detail",
        "One pool, from top to bottom in the order in which to ask. Its instances are added up; or choose one.",
    ).with_variable(pool_variable(several=False))
    for variable in tracer_variables():
        made = made.with_variable(variable)
    for link in (board_link("Pool fleet", FLEET), *trace_links()):
        made = made.link(link)
    made = made.annotation(_bursts())
    for number_now in _now():
        made = made.with_panel(number_now)
    for question, panels in _SECTIONS.items():
        made = made.with_row(dashboard.Row(question))
        for panel in panels():
            made = made.with_panel(panel)
    return made


def _bursts() -> dashboard.AnnotationQuery:
    """Shades the time in which the pool bursts; a burst that no scrape saw is known from its count."""
    expr = f"{total(rate('instrumented_pool.bursts'))} > 0 or {bursting()} > 0"
    target = prometheus.Dataquery().ref_id("Bursts").datasource(PROMETHEUS).expr(expr).range().interval("15s")
    return (
        dashboard.AnnotationQuery()
        .name("Bursts")
        .datasource(PROMETHEUS)
        .enable(True)
        .hide(False)
        .icon_color("orange")
        .target(target)
        .title_format("Burst: more connections than the soft limit")
    )


def _now() -> list[stat.Panel]:
    return [
        number(
            Words(
                "Do callers wait?",
                "What 99 % of the acquires of the last minutes stayed below.",
                "milliseconds; nothing at all where a connection lies idle.",
                "go on with the first section.",
            ),
            "s",
            Query(f"{quantile(0.99, WAIT)} >= 0"),
            warn=0.1,
            alarm=1,
        ),
        number(
            Words(
                "Do callers give up?",
                "Time-outs per second.",
                "0.",
                "each is a request that failed. The error in your log names who held the connections, and where.",
            ),
            "reqps",
            Query(timeouts()),
            warn=None,
            alarm=ANY,
        ),
        number(
            Words(
                "Is it full?",
                "Connections in use as a share of the hard limit.",
                "below 80 %.",
                "the second section tells whether the pool is too small, the third and fourth whether the server is "
                "slow or somebody holds on.",
            ),
            "percentunit",
            Query(saturation()),
            warn=0.8,
            alarm=1,
        ),
        number(
            Words(
                "Can it connect?",
                "Attempts to connect that failed, per second.",
                "0.",
                "the server is down or refuses us: ask the server, the network, the credentials.",
            ),
            "cps",
            Query(total(rate(CREATES, FAILED))),
            warn=None,
            alarm=ANY,
        ),
        number(
            Words(
                "How old is a hold?",
                "How long the connection that has been lent the longest has been lent.",
                "about the duration of your slowest request.",
                "`pool.holders()` says who it is; the fourth section, since when.",
            ),
            "s",
            Query(highest(series("instrumented_pool.oldest_hold"))),
            warn=30,
            alarm=300,
        ),
        number(
            Words(
                "Is it watched well?",
                "Observers that raised, per second. What they were to report is missing from these panels.",
                "0.",
                "the log of `instrumented_pool` has the exception and the line, once for each observer and hook.",
            ),
            "cps",
            Query(total(rate("instrumented_pool.observer_errors"))),
            warn=None,
            alarm=ANY,
        ),
    ]


def _quantiles(metric: str) -> list[Query]:
    return [Query(quantile(q, metric), name, exemplars=True) for name, q in _QUANTILES.items()]


def _callers() -> list[Panel]:
    outcome, source = identifier(ACQUIRE_OUTCOME), identifier(ACQUIRE_SOURCE)
    got = matching(ACQUIRE_OUTCOME, "acquired")
    return [
        buckets(
            Words(
                "How long did callers wait?",
                "Acquires per second by the time that they took; those that found a connection idle are in the lowest "
                "bucket. Dots are exemplars, and a click on one opens its trace.",
                "all colour in the lowest bucket.",
                "a second band above is a queue: how high it lies is how long callers wait. Open the trace of a dot.",
            ),
            "s",
            Query(total(duration_rate(WAIT, "bucket"), "le"), "{{le}}", exemplars=True),
        ),
        graph(
            Words(
                "How long do most of them wait?",
                "What half, 95 % and 99 % of the acquires stay below.",
                "p99 far below what a request may take.",
                "p50 up as well: everybody queues, so ask whether the pool is too small or the server slow. Only p99 "
                "up: a few are unlucky, so look at bursts, at creations and at long holds.",
            ),
            "s",
            _quantiles(WAIT),
            colours=_OF_QUANTILES,
        ),
        graph(
            Words(
                "Who got no connection, and why?",
                "Acquires that failed, per second and by reason.",
                "nothing is drawn.",
                "`timeout`: go on with the next sections. `create_error`: the server is slow to connect to, or down. "
                "`queue_full`: `max_waiting` turned callers away. `deadlock`: tasks that hold connections wait for "
                "more. `cancelled`: the callers' own doing, often a deadline above the pool.",
            ),
            "reqps",
            [
                Query(
                    f"{total(rate(ACQUIRES, other_than(ACQUIRE_OUTCOME, 'acquired')), outcome)} > 0",
                    f"{{{{{outcome}}}}}",
                )
            ],
            stacked=True,
            none=NONE,
            colours=_OF_FAILURES,
        ),
        graph(
            Words(
                "Where do connections come from?",
                "Acquires that were served, per second: from an idle connection, from the caller before (a hand-off in "
                "the queue), or by a new connection.",
                "nearly all idle.",
                "hand-offs are callers that queued; new ones waited for the server. Many new ones: see the churn.",
            ),
            "reqps",
            [Query(total(rate(ACQUIRES, got), source), f"{{{{{source}}}}}")],
            stacked=True,
            colours={"idle": "green", "handoff": "blue", "new": "yellow"},
        ),
    ]


def _size() -> list[Panel]:
    states = graph(
        Words(
            "Is there room?",
            "Connections by what they are doing, stacked, against the two limits. Shaded times are bursts.",
            "some idle, and the top below the soft limit.",
            "at the hard limit callers queue. All in use: raise the limit or shorten the use. Many being made or "
            "closed: the server is slow, or the pool churns.",
        ),
        "short",
        [
            Query(in_use(), "in use"),
            Query(idle(), "idle"),
            Query(total(series("instrumented_pool.connection.creating")), "creating"),
            Query(total(series("instrumented_pool.connection.closing")), "closing"),
            Query(soft_limit(), "soft limit"),
            Query(hard_limit(), "hard limit"),
        ],
        stacked=True,
        colours={"in use": "blue", "idle": "green", "creating": "yellow", "closing": "purple"},
    )
    arrivals_times_use = (
        f"{total(rate(ACQUIRES))} * {total(duration_rate(USE, 'sum'))} / {total(duration_rate(USE, 'count'))}"
    )
    needed = graph(
        Words(
            "How many connections are needed?",
            "Little's law: arrivals per second × mean use time is the number of connections that are busy on average. "
            "*Needed* counts everybody who asked, *had* only the use that took place.",
            "needed stays below about 80 % of the soft limit.",
            "needed above a limit: no queue will ever drain; allow more connections, or use each for a shorter time. "
            "Needed far below, and callers wait all the same: holds are few and long, or demand comes in surges.",
        ),
        "short",
        [
            Query(arrivals_times_use, "needed"),
            Query(demand(), "had"),
            Query(soft_limit(), "soft limit"),
            Query(hard_limit(), "hard limit"),
        ],
    )
    for panel in (states, needed):
        panel.override_by_name("soft limit", line("orange")).override_by_name("hard limit", line("red"))
    return [
        states,
        needed,
        graph(
            Words(
                "How long is the queue?",
                "Callers that wait for a connection.",
                "0, but for moments.",
                "a queue that grows without end is a demand above the limit; one that comes and goes is a surge, for "
                "which a burst is made.",
            ),
            "short",
            [Query(waiting(), "waiting")],
        ),
        graph(
            Words(
                "How often does it burst?",
                "Times per minute that the pool rose above its soft limit.",
                "0, or a few in a surge.",
                "many short bursts connect and close all the time: raise `max_size` to what they reach.",
            ),
            "cpm",
            [Query(f"{total(rate('instrumented_pool.bursts'))} * 60", "bursts")],
        ),
    ]


def _server() -> list[Panel]:
    return [
        graph(
            Words(
                "How long does a connection take to make?",
                "What half, 95 % and 99 % of the creations stay below, of those that succeeded.",
                "what a connect to this server takes when all is well, and no more.",
                "the server accepts slowly, TLS or the log-in is slow, or the event loop is blocked.",
            ),
            "s",
            _quantiles(CREATE),
            width=8,
            colours=_OF_QUANTILES,
        ),
        graph(
            Words(
                "Do connects fail?",
                "Attempts to connect that failed, per second.",
                "a line at 0.",
                "the server is down, full or refuses us. Callers whose connect failed are told its error.",
            ),
            "cps",
            [Query(total(rate(CREATES, FAILED)), "failed")],
            width=8,
            reaches=0.1,
            colours={"failed": "red"},
        ),
        graph(
            Words(
                "How long is a connection used?",
                "What half, 95 % and 99 % of the uses stay below.",
                "steady; about what your queries take.",
                "it rose: the server is slow, or the code does other work while it has the connection. The exemplars "
                "lead to holders that others had to wait for.",
            ),
            "s",
            _quantiles(USE),
            width=8,
            colours=_OF_QUANTILES,
        ),
    ]


def _holders() -> list[Panel]:
    return [
        graph(
            Words(
                "How long has the oldest hold lasted?",
                "Of all connections that are lent now, the one that has been for the longest, by instance.",
                "a saw's teeth, as high as your slowest request.",
                "a straight line upwards is a connection that nobody gives back: `pool.holders()` names the task and "
                "the line of code that it waits in.",
            ),
            "s",
            [Query(highest(series("instrumented_pool.oldest_hold"), "instance"), "{{instance}}")],
        ),
        graph(
            Words(
                "Are leaks suspected?",
                "Holds per minute that passed `leak_after`, by instance; without `leak_after` there are none.",
                "nothing is drawn.",
                "the event `leak_suspected` and its log line name the holder and where it is.",
            ),
            "cpm",
            [Query(f"{total(rate('instrumented_pool.leaks_suspected'), 'instance')} * 60 > 0", "{{instance}}")],
            none=NONE,
        ),
    ]


def _churn() -> list[Panel]:
    reason = identifier(CLOSE_REASON)
    return [
        graph(
            Words(
                "How many connections are made?",
                "Connections made, per second.",
                "near 0 once the service is warm.",
                "the graph beside this one says what they replace.",
            ),
            "cps",
            [Query(total(rate(CREATES, matching(CREATE_OUTCOME, "created"))), "created")],
            width=8,
        ),
        graph(
            Words(
                "Why are connections closed?",
                "Connections that left the pool, per second and by reason.",
                "nothing, or a trickle of `lifetime` and `idle`.",
                "`stale`: the server or a proxy hangs up on idle connections, so set `idle_timeout` below its own. "
                "`shrink`: bursts; raise `max_size`. `dirty`: cancelled bodies, whose connections cannot be reused. "
                "`lifetime`, a lot of it: `max_lifetime` is too short.",
            ),
            "cps",
            [Query(f"{total(rate(CLOSES), reason)} > 0", f"{{{{{reason}}}}}")],
            width=8,
            stacked=True,
            none=NONE,
        ),
        graph(
            Words(
                "Do closes fail?",
                "Closes per second that failed or took longer than `close_timeout`.",
                "a line at 0.",
                "a close that hangs keeps its slot until `close_timeout`. The event `close_error` has the error.",
            ),
            "cps",
            [Query(total(rate("instrumented_pool.close_errors")), "failed")],
            width=8,
            reaches=0.1,
            colours={"failed": "red"},
        ),
    ]


def _observers() -> list[Panel]:
    observer = identifier(OBSERVER)
    return [
        graph(
            Words(
                "How much of a core do observers take?",
                "The time that each observer spends in its hooks, as a share of one core; estimated from a sample.",
                "well below 1 %.",
                "an observer that costs much hears of every acquire: docs/choosing.md has modes that do not.",
            ),
            "percentunit",
            [Query(total(rate("instrumented_pool.observer_time"), observer), f"{{{{{observer}}}}}")],
            none=NONE,
        ),
        graph(
            Words(
                "Do observers fail?",
                "Hooks that raised, per second. The pool and its callers do not notice.",
                "a line at 0.",
                "the log of `instrumented_pool` has the exception and the line, once for each observer and hook.",
            ),
            "cps",
            [Query(total(rate("instrumented_pool.observer_errors")), "failed")],
            reaches=0.1,
            colours={"failed": "red"},
        ),
    ]


_SECTIONS: dict[str, Callable[[], list[Panel]]] = {
    "Is it hurting callers?": _callers,
    "Is it too small?": _size,
    "Is the server slow?": _server,
    "Is somebody holding on?": _holders,
    "Is it churning?": _churn,
    "What do observers cost?": _observers,
}
