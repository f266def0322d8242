"""The live view's picture, drawn without a terminal."""

import pytest

from instrumented_pool import ConnectionPool
from instrumented_pool._demo._feed import Feed, Programme, Result, Samples
from instrumented_pool._demo._stage import Claim
from instrumented_pool._demo._story import ACTS
from instrumented_pool._demo._view import frame
from instrumented_pool.strategies.redis import RedisConnectionStrategy


@pytest.fixture
def programme() -> Programme:
    """A story in its third act, with more events and claims than there is room for."""
    pool = ConnectionPool(strategy=RedisConnectionStrategy(), max_size=8, burst_limit=12)
    pool.keep_distributions()
    feed, samples = Feed(), Samples(pool.stats)
    for number in range(150):
        feed.tell(f"event {number}, " + "told at length " * (number % 12))
        samples.take()
    claims = [Claim("a claim " * 12, holds=bool(number % 2)) for number in range(5)]
    results = [Result(act, claims, pool.stats(), pool.stats(), 1.0) for act in ACTS[:2]]
    return Programme("pool 'orders-cache' on Valkey at 127.0.0.1:40001", ACTS, feed, samples, results)


@pytest.mark.parametrize("width", [60, 80, 100, 117, 118, 140, 220])
@pytest.mark.parametrize("height", [20, 24, 33, 40, 70])
def test_picture_fits_exactly(programme: Programme, width: int, height: int) -> None:
    """Whatever the size: as many lines as there are, none of them longer than the screen is wide."""
    lines = frame(programme, width, height)
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40)])
def test_picture_shows_slots_percentiles_and_the_newest_event(programme: Programme, width: int, height: int) -> None:
    """What the view is for is there at both sizes."""
    picture = "\n".join(line.plain for line in frame(programme, width, height))
    assert " slots      ░" in picture
    assert "p95" in picture
    assert "event 149" in picture
    assert "▶ The server stalls" in picture
