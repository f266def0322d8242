"""The situations a caller may be in when something goes wrong; `sweep` goes through each of them step by step."""

import asyncio
from typing import Any

from instrumented_pool.testing import FakeStrategy

from .fakes import CarefulStrategy
from .sweep import Scenario, Scene
from .virtual import steps


async def borrow(scene: Scene) -> None:
    """Ask for a connection and use it for a few steps."""
    await scene.use()


async def borrow_in_time(scene: Scene) -> None:
    """The same with asyncio's own time-out around it, which passes as the connection comes."""
    async with asyncio.timeout(0.5):
        await scene.use()


async def one_idle(scene: Scene) -> None:
    """A connection lies idle."""
    await scene.use()


async def one_lent(scene: Scene) -> None:
    """The only connection is lent, and comes back after some steps."""
    scene.spawn(scene.use(6))
    await steps()


async def one_lent_others_queue(scene: Scene) -> None:
    """As before, with others in the queue."""
    await one_lent(scene)
    scene.spawn(scene.use(), scene.use())
    await steps(1)


async def one_lent_until_the_timeout(scene: Scene) -> None:
    """The only connection comes back at the moment at which the wait ends."""

    async def use_for_half_a_second() -> None:
        async with scene.pool.get_connection():
            await asyncio.sleep(0.5)

    scene.spawn(use_for_half_a_second())
    await steps()


async def one_stale(scene: Scene) -> None:
    """The idle connection has died."""
    await scene.use()
    scene.strategy.created[0].dead = True


async def two_stale(scene: Scene) -> None:
    """Two idle connections have died, and one is left."""
    async with scene.pool.get_connection(), scene.pool.get_connection(), scene.pool.get_connection():
        pass
    for conn in scene.strategy.created[:2]:
        conn.dead = True


async def arriving_dead(scene: Scene) -> None:
    """The next two connections are closed when they arrive."""
    scene.strategy.arrive_dead = 2


async def all_lent(scene: Scene) -> None:
    """`max_size` connections are lent."""
    scene.spawn(*[scene.use(12) for _ in range(scene.pool.max_size)])
    await steps()


async def create_fails(scene: Scene) -> None:
    """The next creation fails."""
    scene.strategy.create_errors.append(OSError("refused"))


async def create_fails_others_queue(scene: Scene) -> None:
    """The creations of two others fail."""
    scene.strategy.create_errors += [OSError("refused"), None, OSError("refused")]
    scene.spawn(scene.use(), scene.use())


async def close_fails(scene: Scene) -> None:
    """All connections are lent, and the next close fails."""
    await all_lent(scene)
    scene.strategy.close_errors.append(OSError("broken"))


async def close_the_pool(scene: Scene) -> None:
    """Close the pool while others use it and queue."""
    await scene.pool.close()


async def clear_the_pool(scene: Scene) -> None:
    """Clear the pool, then use it."""
    scene.pool.clear()
    await scene.use()


async def raise_the_limit(scene: Scene) -> None:
    """Queue, then make room."""
    scene.spawn(scene.use())
    await steps(1)
    scene.pool.max_size = 2
    await scene.use()


async def lower_the_limit(scene: Scene) -> None:
    """Borrow one of many while the limits sink."""
    scene.pool.burst_limit = None
    scene.pool.max_size = 1
    await scene.use()


async def open_and_use(scene: Scene) -> None:
    """Wait until the pool is filled, then use it."""
    await scene.pool.open()
    await scene.use()


async def use_as_a_whole(scene: Scene) -> None:
    """`async with pool`."""
    async with scene.pool:
        await scene.use()


async def cancelled_but_reusable(scene: Scene) -> None:
    """A body that is cancelled gives back what its strategy will lend again."""
    scene.strategy.connection_is_reusable = lambda conn, error: True  # type: ignore[method-assign]
    await scene.use(3)


async def looked_at_while_others_ask(scene: Scene) -> None:
    """Both idle connections are looked at; one proves to be gone."""
    await asyncio.sleep(5)
    scene.spawn(scene.use())
    await scene.use()


async def two_idle_one_gone(scene: Scene) -> None:
    """Two connections lie idle, the other side of one of them is gone."""
    assert isinstance(scene.strategy, CarefulStrategy)
    async with scene.pool.get_connection() as conn, scene.pool.get_connection():
        scene.strategy.gone.add(conn)


async def reset_fails(scene: Scene) -> None:
    """The next reset fails."""
    assert isinstance(scene.strategy, CarefulStrategy)
    scene.strategy.reset_errors.append(OSError("broken"))


def careful() -> FakeStrategy:
    """Resets take some steps, and idle connections are looked at."""
    return CarefulStrategy(check_after=5.0, close_steps=1)


def careful_at_once() -> FakeStrategy:
    """Resets take no time."""
    return CarefulStrategy(reset_steps=None)


def slow_to_connect() -> FakeStrategy:
    """Connecting takes some steps."""
    return FakeStrategy(create_steps=3)


def slow_to_close() -> FakeStrategy:
    """Closing takes some steps."""
    return FakeStrategy(create_steps=1, close_steps=3)


BURST: dict[str, Any] = {"burst_limit": 2}
WIDE: dict[str, Any] = {"max_size": 3, "burst_limit": 4}

SCENARIOS = {
    "idle": Scenario(borrow, one_idle),
    "idle, with ages": Scenario(borrow, one_idle, {"max_lifetime": 9.0, "idle_timeout": 5.0}),
    "idle, with distributions and leaks": Scenario(borrow, one_idle, {"leak_after": 1.0}),
    "create": Scenario(borrow, strategy=slow_to_connect),
    "create, one at a time": Scenario(
        borrow, one_lent_others_queue, {"max_size": 3, "max_connecting": 1}, slow_to_connect
    ),
    "queue": Scenario(borrow, one_lent_others_queue),
    "hand-off": Scenario(borrow, one_lent),
    "hand-off with a limit of callers": Scenario(borrow, one_lent, {"max_waiting": 1}),
    "time-out of asyncio racing a hand-off": Scenario(borrow_in_time, one_lent_until_the_timeout),
    "time-out of the pool racing a hand-off": Scenario(borrow, one_lent_until_the_timeout, {"acquire_timeout": 0.5}),
    "stale": Scenario(borrow, one_stale, strategy=slow_to_connect),
    "stale, closing slowly": Scenario(borrow, one_stale, strategy=slow_to_close),
    "stale, with another idle": Scenario(borrow, two_stale, WIDE),
    "arriving dead": Scenario(borrow, arriving_dead, strategy=slow_to_connect),
    "burst and shrink": Scenario(borrow, all_lent, BURST, slow_to_connect),
    "burst and shrink, closing slowly": Scenario(borrow, all_lent, BURST, slow_to_close),
    "shrink unwatched, closing slowly": Scenario(borrow, all_lent, {**BURST, "close_errors": "observe"}, slow_to_close),
    "shrink, closing in vain": Scenario(borrow, close_fails, BURST),
    "shrink, closing slowly and in vain": Scenario(borrow, close_fails, BURST, slow_to_close),
    "creation failing": Scenario(borrow, create_fails, strategy=slow_to_connect),
    "creation failing for others": Scenario(borrow, create_fails_others_queue, {"max_size": 2}, slow_to_connect),
    "close of the pool": Scenario(close_the_pool, all_lent, BURST, slow_to_connect),
    "close of the pool, slowly": Scenario(close_the_pool, one_lent_others_queue, BURST, slow_to_close),
    "close of an idle pool, slowly": Scenario(close_the_pool, one_idle, strategy=slow_to_close),
    "clear": Scenario(clear_the_pool, one_idle, strategy=slow_to_close),
    "clear with some lent": Scenario(clear_the_pool, one_lent_others_queue, BURST, slow_to_connect),
    "resize upwards": Scenario(raise_the_limit, one_lent, strategy=slow_to_connect),
    "resize downwards": Scenario(lower_the_limit, all_lent, WIDE, slow_to_close, lowered=4),
    "reset": Scenario(borrow, one_idle, strategy=careful),
    "reset at once": Scenario(borrow, one_idle, strategy=careful_at_once),
    "reset while others queue": Scenario(borrow, one_lent_others_queue, strategy=careful),
    "reset of a burst": Scenario(borrow, all_lent, BURST, careful),
    "reset after a cancellation": Scenario(cancelled_but_reusable, one_lent, strategy=careful),
    "reset in vain": Scenario(borrow, reset_fails, strategy=careful),
    "reset as the pool closes": Scenario(close_the_pool, one_lent_others_queue, strategy=careful),
    "look at what is idle": Scenario(looked_at_while_others_ask, two_idle_one_gone, {"max_size": 2}, careful),
    "look at what is idle, with ages": Scenario(
        looked_at_while_others_ask, two_idle_one_gone, {"max_size": 2, "idle_timeout": 7.0, "min_size": 1}, careful
    ),
    "open": Scenario(open_and_use, options={"max_size": 2, "min_size": 2}, strategy=slow_to_connect),
    "open in vain": Scenario(open_and_use, create_fails, {"max_size": 2, "min_size": 2}, slow_to_connect),
    "the whole pool": Scenario(use_as_a_whole, options={"max_size": 2, "min_size": 1}, strategy=slow_to_close),
}
