"""Durations that were counted into buckets, as values again."""

from collections.abc import Iterator

from instrumented_pool import Distribution


def news(before: Distribution, after: Distribution) -> Iterator[tuple[float, int]]:
    """What was added to a distribution: a value for each bucket, in seconds, and how many durations it stands for.

    Where in a bucket its durations lie is not known, but what they come to altogether is: the values are put as far
    into their buckets, all equally far, as makes the sum right. Durations beyond the last bound take what the others,
    in the middle of their buckets, leave.
    """
    *counts, beyond = (new - old for new, old in zip(after.counts, before.counts, strict=True))
    buckets = [pair for pair in zip((0.0, *after.bounds), after.bounds, counts, strict=False) if pair[2]]
    total = after.sum - before.sum
    least = sum(lower * times for lower, _, times in buckets)
    room = sum((upper - lower) * times for lower, upper, times in buckets)
    part = 0.5 if beyond or not room else min(max((total - least) / room, 0.0), 1.0)
    for lower, upper, times in buckets:
        yield lower + part * (upper - lower), times
    if beyond:
        yield max((total - least - part * room) / beyond, after.bounds[-1]), beyond
