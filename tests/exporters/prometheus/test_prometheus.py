"""What a scrape shows, and that it is what OpenTelemetry's metrics become in Prometheus."""

import asyncio
import gc
import subprocess
import sys
import weakref

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.values import MutexValue, get_value_class

from instrumented_pool import BOUNDS, ConnectionPool
from instrumented_pool.metrics import COUNTS, DURATIONS, Attributes
from instrumented_pool_otel import OTelObserver
from instrumented_pool_prometheus import PoolCollector
from instrumented_pool_prometheus._names import identifier
from support.telemetry import At, Pools, Wire, Wires, borrow, hooks_called_by, one_queues_and_one_gives_up, until

ATTRIBUTES: Attributes = {"server.address": "db.example", "server.port": 5432, "pooled.at-all": True, "weight": 0.5}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry(auto_describe=True)


@pytest.fixture
def collector(registry: CollectorRegistry) -> PoolCollector:
    collector = PoolCollector()
    registry.register(collector)
    return collector


def samples(registry: CollectorRegistry, name: str) -> dict[str, float]:
    """The values of a sample by the name of the pool."""
    return {
        sample.labels["db_client_connection_pool_name"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


async def exercise(pool: ConnectionPool[Wire], wires: Wires) -> None:
    """Create, burst, queue, hand over, time out, fail, and recover."""
    async with pool.get_connection(), pool.get_connection():
        waiter = await one_queues_and_one_gives_up(pool)
    await waiter
    pool.clear()
    wires.error = OSError("no")
    with pytest.raises(OSError, match="no"):
        await borrow(pool)
    wires.error = None
    await borrow(pool)


def told(family: Metric) -> tuple[str, str, str, str]:
    return family.name, family.type, family.unit, family.documentation


def values(family: Metric) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in family.samples}


async def test_a_scrape_equals_what_opentelemetry_becomes_in_prometheus(wires: Wires, make_pool: Pools) -> None:
    """Every family, sample, label and value of the two, from one pool that both watch."""
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=theirs)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    collector = PoolCollector(attributes=ATTRIBUTES)
    ours.register(collector)
    observer = OTelObserver(meter_provider=provider, attributes=ATTRIBUTES, spans="off")
    pool = make_pool(strategy=wires, burst_limit=2, name="db", observers=[observer, collector])
    make_pool(strategy=wires, name="db", observers=[observer, collector])
    await exercise(pool, wires)
    await borrow(pool)
    by_name = {family.name: family for family in theirs.collect()}
    families = list(ours.collect())
    assert sorted(by_name) == sorted(family.name for family in families)
    for family in families:
        other = by_name[family.name]
        assert told(family) == told(other)
        unused = {key for key in values(family) if key not in values(other)}
        assert all(dict(labels)["db_client_connection_pool_name"] == "db#2" for _, labels in unused)
        assert {key: value for key, value in values(family).items() if key not in unused} == pytest.approx(
            values(other)
        )


async def test_only_an_unused_histogram_differs_from_opentelemetrys(
    registry: CollectorRegistry, collector: PoolCollector, wires: Wires, make_pool: Pools
) -> None:
    """OpenTelemetry shows none before the first record; ours is there from the start, at zero."""
    make_pool(strategy=wires, name="db", observers=[collector])
    assert samples(registry, "db_client_connection_wait_time_seconds_count") == {"db": 0}


async def test_what_is_scraped_can_be_read_by_prometheus_and_by_openmetrics(
    registry: CollectorRegistry, collector: PoolCollector, wires: Wires, make_pool: Pools
) -> None:
    """Both texts, read back by the strict parsers, have every family and equal samples."""
    pool = make_pool(strategy=wires, burst_limit=2, name='odd "name"\n\\', observers=[collector])
    await exercise(pool, wires)
    text = generate_latest(registry).decode()
    metrics = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]  # as it is published
    plain = {family.name: family for family in parse_text(text)}
    opened = {family.name: family for family in parse_openmetrics(metrics)}  # type: ignore[no-untyped-call]
    assert len(opened) == len(COUNTS) + len(DURATIONS)
    for family in registry.collect():
        assert values(opened[family.name]) == values(family)
        assert values(plain[family.name]) == values(family)


async def test_a_histogram_has_the_pools_buckets_summed_up(
    registry: CollectorRegistry, collector: PoolCollector, wires: Wires, make_pool: Pools
) -> None:
    """In ascending order, the last one without end, and with the count and the sum."""
    pool = make_pool(strategy=wires, name="db", observers=[collector])
    for _ in range(3):
        await borrow(pool)
    use = pool.stats().use
    assert use is not None
    (family,) = [each for each in registry.collect() if each.name == "db_client_connection_use_time_seconds"]
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
    assert [float(bucket.labels["le"]) for bucket in buckets] == [*BOUNDS, float("inf")]
    assert [bucket.value for bucket in buckets] == [sum(use.counts[: n + 1]) for n in range(len(use.counts))]
    assert samples(registry, "db_client_connection_use_time_seconds_count") == {"db": 3}
    assert samples(registry, "db_client_connection_use_time_seconds_sum") == {"db": use.sum}


async def test_a_scrape_in_the_middle_of_things_shows_the_pools_own_numbers(
    registry: CollectorRegistry, collector: PoolCollector, wires: Wires, make_pool: Pools
) -> None:
    """With a connection lent, one being made and callers queued."""
    pool = make_pool(strategy=wires, burst_limit=2, name="db", observers=[collector])
    async with pool.get_connection():
        wires.gate.clear()
        callers = [asyncio.create_task(borrow(pool)) for _ in range(3)]
        await until(lambda: wires.asked == 2)
        assert samples(registry, "db_client_connection_pending_requests") == {"db": 3}
        assert samples(registry, "instrumented_pool_connection_creating") == {"db": 1}
        assert samples(registry, "instrumented_pool_bursting") == {"db": 1}
        (held,) = samples(registry, "instrumented_pool_oldest_hold_seconds").values()
        assert 0 < held <= pool.stats().oldest_hold
    wires.gate.set()
    await asyncio.gather(*callers)


def test_the_pool_calls_nothing_of_it_until_it_closes(collector: PoolCollector, wires: Wires) -> None:
    """It is read, not told."""
    pool = ConnectionPool(strategy=wires, max_size=1, observers=[collector])
    assert hooks_called_by(pool) == {"on_pool_closed"}
    assert pool.stats().wait is not None


async def test_several_pools_are_one_family_each(
    registry: CollectorRegistry, collector: PoolCollector, wires: Wires, make_pool: Pools
) -> None:
    """Told apart by name, a second of one name by its number."""
    for name, size in (("db", 1), ("cache", 2), ("db", 3)):
        make_pool(strategy=wires, max_size=size, name=name, observers=[collector])
    assert samples(registry, "db_client_connection_max") == {"db": 1, "cache": 2, "db#2": 3}


async def test_a_pool_that_is_gone_or_was_removed_is_shown_no_longer(
    registry: CollectorRegistry, collector: PoolCollector, wires: Wires, make_pool: Pools
) -> None:
    """Nothing of ours keeps it alive."""
    removed = make_pool(strategy=wires, name="removed", observers=[collector])
    pool = ConnectionPool(strategy=wires, max_size=1, name="gone", observers=[collector])
    assert set(samples(registry, "db_client_connection_max")) == {"removed", "gone"}
    removed.remove_observer(collector)
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert samples(registry, "db_client_connection_max") == {}


async def test_a_closed_pool_leaves_its_name_to_its_successor(
    registry: CollectorRegistry, collector: PoolCollector, wires: Wires, make_pool: Pools
) -> None:
    """Until then its last numbers can still be scraped."""
    old = make_pool(strategy=wires, max_size=3, name="db", observers=[collector])
    await old.close()
    assert samples(registry, "db_client_connection_max") == {"db": 3}
    make_pool(strategy=wires, max_size=5, name="db", observers=[collector])
    assert samples(registry, "db_client_connection_max") == {"db": 5}


def test_a_second_collector_is_refused_by_the_registry(registry: CollectorRegistry, collector: PoolCollector) -> None:
    """Instead of a scrape with every family twice, which Prometheus would drop whole."""
    with pytest.raises(ValueError, match="db_client_connection_count"):
        registry.register(PoolCollector())


def test_registering_reads_no_pool(collector: PoolCollector) -> None:
    """The registry asks for names only."""
    families = list(collector.describe())
    assert len(families) == len(COUNTS) + len(DURATIONS)
    assert not any(family.samples for family in families)


async def test_each_pools_samples_say_what_it_connects_to(registry: CollectorRegistry) -> None:
    """As OpenTelemetry's do; what the collector was given comes first."""
    collector = PoolCollector(attributes={"server.address": "by-hand"})
    registry.register(collector)
    names = ("db", "cache")
    pools = [ConnectionPool(strategy=At(name), name=name, max_size=1, observers=[collector]) for name in names]
    labels = {
        sample.labels["db_client_connection_pool_name"]: {
            key: value for key, value in sample.labels.items() if key.startswith(("server", "db_system"))
        }
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "db_client_connection_max"
    }
    assert labels == {
        "db": {"server_address": "by-hand", "server_port": "5432", "db_system_name": "db"},
        "cache": {"server_address": "by-hand", "server_port": "5432", "db_system_name": "cache"},
    }
    assert [pool.attributes["server.address"] for pool in pools] == ["db.example", "cache.example"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"a.b": "x", "a_b": "y"}, "attributes must not have the key 'a_b': its label 'a_b' is taken"),
        ({"le": "x"}, "attributes must not have the key 'le': its label 'le' is taken"),
        (
            {"db_client_connection_pool_name": "x"},
            "attributes must not have the key 'db_client_connection_pool_name': its label",
        ),
        (
            {"db_client_connection_state": "x"},
            "attributes must not have the key 'db_client_connection_state': its label",
        ),
    ],
)
def test_attributes_that_make_one_label_are_refused(attributes: dict[str, str], message: str) -> None:
    """Two values under one label are one value too many."""
    with pytest.raises(ValueError, match=message):
        PoolCollector(attributes=attributes)


def test_a_label_does_not_begin_with_a_digit() -> None:
    """Prometheus would not read it."""
    assert identifier("2nd") == "_2nd"


@pytest.mark.parametrize("value", ["anywhere", ""])
@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_multiprocess_mode_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """With what to do instead, wherever prometheus_client itself takes it for switched on: an empty string will do."""
    monkeypatch.setenv(variable, value)
    assert get_value_class() is not MutexValue  # type: ignore[no-untyped-call]  # as it is published
    with pytest.raises(RuntimeError, match=f"{variable} is set, .* or send the metrics by OTelObserver"):
        PoolCollector()


def test_a_missing_extra_is_named() -> None:
    """Instead of a bare ModuleNotFoundError."""
    script = "import sys; sys.modules['prometheus_client'] = None; import instrumented_pool_prometheus"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: instrumented_pool_prometheus needs prometheus-client: pip install 'instrumented-pool[prometheus]'"
    )


def test_no_exporter_is_needed_for_another() -> None:
    """Neither does the collector import OpenTelemetry, nor the observer Prometheus."""
    script = (
        "import sys; import {0}; others = [name for name in sys.modules if name.split('.')[0] in "
        "('opentelemetry', 'prometheus_client', 'instrumented_pool_otel', 'instrumented_pool_prometheus')]; "
        "print(sorted({{name.split('.')[0] for name in others}}))"
    )
    seen = [
        subprocess.run([sys.executable, "-c", script.format(name)], capture_output=True, text=True, timeout=60).stdout
        for name in ("instrumented_pool_prometheus", "instrumented_pool_otel")
    ]
    assert seen == [
        "['instrumented_pool_prometheus', 'prometheus_client']\n",
        "['instrumented_pool_otel', 'opentelemetry']\n",
    ]
