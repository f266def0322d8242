"""What must be true of a pool between any two steps of its loop, whatever happened to it."""

from typing import Any

from instrumented_pool.testing import FakeStrategy, RecordingObserver

from .fakes import Pool


def assert_whole(pool: Pool, *, limit: int | None = None) -> None:
    """Check the pool against itself. `limit` is what the total may be where the hard limit was lowered below it."""
    leases = _assert_one_owner_each(pool)
    stats = pool.stats()
    assert (stats.creating, stats.idle) == (len(pool._creating), len(pool._idle))
    assert (stats.in_use, stats.closing) == (len(leases) + len(pool._checking), len(pool._closing))
    assert stats.total == len(pool._slots)
    assert stats.idle <= stats.max_size
    assert stats.total <= (limit or stats.limit)
    assert stats.waiting == 0 or stats.idle == 0, "a caller waits while a connection is idle"
    assert not (pool._closed and (stats.idle or stats.waiting)), "closed, and yet idle connections or callers"
    assert sum(stats.acquired.values()) + sum(stats.failed.values()) <= stats.acquires
    assert bool(pool._burst_peak) == stats.bursting
    _assert_nobody_is_forgotten(pool)
    _assert_what_is_cached(pool)


def _assert_one_owner_each(pool: Pool) -> list[Any]:
    leased = [slot for slot in pool._slots if slot.lease is not None]
    owned = [*pool._creating, *pool._idle, *pool._checking, *pool._closing, *leased]
    assert len(owned) == len(set(owned)), "a slot has two owners"
    assert set(owned) == pool._slots, "a slot has no owner, or is owned and not in the pool"
    leases = [slot.lease for slot in leased if slot.lease is not None]
    resetting = len(pool._errands) - len(pool._checking)  # at most: the other errands are closes
    assert sum(lease._slot is not slot for lease, slot in zip(leases, leased, strict=True)) <= resetting
    assert all(lease._slot in (slot, None) for lease, slot in zip(leases, leased, strict=True))
    assert not any(lease in pool._waiters for lease in leases)
    return leased


def _assert_nobody_is_forgotten(pool: Pool) -> None:
    """Who waits has either a connection on its way, or no room for one, or a timer until the pool tries again."""
    alive = [lease for lease in pool._waiters if not lease.future.done()]
    room = min(pool._limit - len(pool._slots), pool._max_connecting - len(pool._creating))
    if pool._dead_arrivals and alive and room > 0:
        assert pool._creating or (pool._timer is not None and pool._due <= pool._retry_at), "nobody tries again"
    elif room > 0:
        assert len(pool._creating) >= len(alive), "there is room, and yet no connection is being made for a caller"
    for lease in alive:
        armed = lease.timer is not None or (pool._timer is not None and pool._due <= lease.deadline)
        assert armed or lease.deadline == float("inf"), "nothing will end this caller's wait"


def _assert_what_is_cached(pool: Pool) -> None:
    bus = pool._bus
    at_hand = not (pool._ages or bus.on_acquire_started or bus.on_acquired_at_once)
    assert (pool._at_hand is pool._idle) == at_hand
    assert at_hand or not pool._at_hand
    tended = pool._resets or pool._check_after is not None or pool._idle_timeout is not None
    attentive = pool._burst_peak or bus.on_released_to_nobody or tended
    assert pool._attentive == bool(attentive)


def assert_gone(pool: Pool, strategy: FakeStrategy, recorder: RecordingObserver | None = None) -> None:
    """Check that a closed pool has left nothing behind."""
    stats = pool.stats()
    assert (stats.total, stats.waiting) == (0, 0), repr(pool)
    assert sum(stats.acquired.values()) + sum(stats.failed.values()) == stats.acquires
    assert sum(stats.closed.values()) == stats.created == len(strategy.created)
    assert sorted(conn.number for conn in strategy.given_up) == [conn.number for conn in strategy.created]
    assert pool._timer is None
    assert not pool._errands
    if recorder is not None:
        recorder.assert_paired()
