"""PromQL about pools, in the names that the exporters' tables give.

A metric that the table does not have is a KeyError here, so that a renamed one breaks the build and not a panel.
"""

from instrumented_pool.metrics import COUNTS, DURATIONS, POOL_NAME, STATE
from instrumented_pool_prometheus._names import family_name, identifier, series_name

POOL = identifier(POOL_NAME)
EACH_POOL = ("job", "instance", POOL)

_CHOSEN = f'job=~"$job", instance=~"$instance", {POOL}=~"$pool"'
_SERIES = {count.name: series_name(count) for count in COUNTS}
_FAMILIES = {duration.name: family_name(duration) for duration in DURATIONS}


def series(metric: str, condition: str = "") -> str:
    """The series of a count, of the pools that are chosen."""
    return f"{_SERIES[metric]}{{{_CHOSEN}{condition and f', {condition}'}}}"


def rate(metric: str, condition: str = "") -> str:
    """By how much a counter rises in a second."""
    return f"rate({series(metric, condition)}[$__rate_interval])"


def duration_rate(metric: str, part: str) -> str:
    """By how much a histogram's `sum`, `count` or `bucket` rises in a second."""
    return f"rate({_FAMILIES[metric]}_{part}{{{_CHOSEN}}}[$__rate_interval])"


def matching(key: str, *values: str) -> str:
    """The condition that an attribute has one of some values."""
    return f'{identifier(key)}{"=" if len(values) == 1 else "=~"}"{"|".join(values)}"'


def other_than(key: str, *values: str) -> str:
    """The condition that an attribute has none of some values."""
    return f'{identifier(key)}{"!=" if len(values) == 1 else "!~"}"{"|".join(values)}"'


def total(what: str, *by: str) -> str:
    """A sum, over all or by labels."""
    return _aggregated("sum", what, by)


def highest(what: str, *by: str) -> str:
    """A maximum, over all or by labels."""
    return _aggregated("max", what, by)


def quantile(q: float, metric: str, *by: str) -> str:
    """The duration in seconds that the share `q` stays below."""
    return f"histogram_quantile({q}, {total(duration_rate(metric, 'bucket'), 'le', *by)})"


def top(count: int, what: str) -> str:
    """The highest few."""
    return f"topk({count}, {what})"


def _aggregated(how: str, what: str, by: tuple[str, ...]) -> str:
    return f"{how} by ({', '.join(by)}) ({what})" if by else f"{how}({what})"


def in_use(*by: str) -> str:
    """Connections that are lent."""
    return total(series("db.client.connection.count", matching(STATE, "used")), *by)


def idle(*by: str) -> str:
    """Connections that lie idle."""
    return total(series("db.client.connection.count", matching(STATE, "idle")), *by)


def hard_limit(*by: str) -> str:
    """`burst_limit`, or `max_size` where there is none."""
    return total(series("db.client.connection.max"), *by)


def soft_limit(*by: str) -> str:
    """`max_size`."""
    return total(series("db.client.connection.idle.max"), *by)


def waiting(*by: str) -> str:
    """Callers in the queue."""
    return total(series("db.client.connection.pending_requests"), *by)


def bursting(*by: str) -> str:
    """Pools above their soft limit."""
    return total(series("instrumented_pool.bursting"), *by)


def saturation(*by: str) -> str:
    """The share of the hard limit that is in use."""
    return f"{in_use(*by)} / {hard_limit(*by)}"


def demand(*by: str) -> str:
    """Connections in use on average: the seconds of use that were had in a second."""
    return total(duration_rate("db.client.connection.use_time", "sum"), *by)


def timeouts(*by: str) -> str:
    """Callers that gave up in a second."""
    return total(rate("db.client.connection.timeouts"), *by)
