"""The live view: the pool as it is now, as it was, and what happens to it."""

import math
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ._feed import Programme, Quantiles, Result, ms
from ._plain import times
from ._stage import BURST_LIMIT, MAX_SIZE
from ._story import Act

WIDE = 118  # columns from which the stream stands beside the pool
_STATES = (
    ("in use", "in_use", "dodger_blue1"),
    ("connecting", "creating", "gold1"),
    ("idle", "idle", "green3"),
    ("closing", "closing", "orchid"),
)
_STYLES = {"good": "green3", "bad": "red1", "notable": "gold1", "told": "bold", "plain": "grey62"}
_WAITING = "orange1"
_BLOCKS = " ▁▂▃▄▅▆▇█"
_MEASURE = Console(width=1000)  # only what `Text.wrap` wants to be given


class LiveView:
    """Draws the programme on the alternate screen, in whatever room there is."""

    INTERVAL = 0.125  # seconds

    def __init__(self, programme: Programme, console: Console) -> None:
        self._programme, self._console = programme, console
        self._live = Live(console=console, screen=True, auto_refresh=False, transient=True)
        self._live.start()

    def begin(self, act: Act) -> None:
        self.tick()

    def end(self, result: Result) -> None:
        self.tick()

    def tick(self) -> None:
        width, height = self._console.size
        self._live.update(Group(*frame(self._programme, width, height)), refresh=True)

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._live.stop()


def frame(programme: Programme, width: int, height: int) -> list[Text]:
    """The picture, as exactly `height` lines of at most `width` columns."""
    head = _head(programme, width)
    room = height - len(head)
    if width < WIDE:
        body = _pool(programme, width, tall=False)
        claims = _claims(programme, width, 6) if height >= 34 else []
        stream = _stream(programme, width, room - len(body) - len(claims))
        lines = [*head, *body, *stream, *claims]
    else:
        left = width * 3 // 5
        pool = _pool(programme, left - 2, tall=height >= 36)
        claims = _claims(programme, width, room - len(pool) - 1)
        deep = room - len(claims)
        stream = _stream(programme, width - left - 1, deep)
        lines = [*head, *_beside(pool, stream, left, deep), *claims]
    lines = lines[:height]
    for line in lines:
        line.truncate(width)
        line.no_wrap = True
    return lines


def _head(programme: Programme, width: int) -> list[Text]:
    title = Text().append(" instrumented-pool ", "bold reverse").append(f" {programme.heading}")
    clock = f"{programme.seconds:4.1f} s "
    title.truncate(width - len(clock), pad=True)
    title.append(clock, "grey62")
    strip = Text(" ")
    for number, act in enumerate(programme.acts):
        if number < len(programme.results):
            holds = programme.results[number].holds
            strip.append("✓ " if holds else "✗ ", "green3" if holds else "red1").append(act.title, "grey62")
        elif act is programme.act:
            strip.append(f"▶ {act.title}", "bold")
        else:
            strip.append(f"· {act.title}", "grey42")
        strip.append("  ")
    caption = programme.act.caption if programme.act else "The pool closes."
    words = [Text(" ").append_text(line).append("") for line in _wrapped(caption, width - 2)]
    for line in words:
        line.stylize("italic")
    return [title, strip, Text(), *[*words, Text()][:2]]


def _pool(programme: Programme, width: int, *, tall: bool) -> list[Text]:
    samples, stats = programme.samples, programme.samples.now
    height = 3 if tall else 1
    gap = [Text()] if tall else []
    spark = width - 24
    lines = [
        _rule(f"the pool: max_size={MAX_SIZE} ┊ burst_limit={BURST_LIMIT}", width),
        *gap,
        *_slots(programme, width),
        *gap,
    ]
    legend = Text(" " * 12)
    for name, field, style in _STATES:
        legend.append("■ ", style).append(f"{name} ").append(f"{getattr(stats, field):<2}  ", "bold")
    waiting = Text(" waiting    ").append("●" * min(stats.waiting, width - 18), _WAITING)
    waiting.append(f" {stats.waiting}" if stats.waiting else "nobody", "bold" if stats.waiting else "grey42")
    lines += [legend, *gap, waiting, *gap, _rule("the last seconds", width)]
    for label, values, style, shown, least in (
        ("in use", samples.in_use, "dodger_blue1", f"{stats.in_use}", BURST_LIMIT),
        ("waiting", samples.waiting, _WAITING, f"{stats.waiting}", BURST_LIMIT),
        ("wait p95", samples.wait_p95, "gold1", ms(samples.wait().p95), 0.01),
        ("served/s", samples.served, "green3", f"{samples.served[-1]:,.0f}", 1),
    ):
        top = max([least, *values[-2 * spark :]])
        lines += _chart(label, values, top, style, shown, spark, height) + gap
    use = _quantiles("use", samples.use()).append("oldest hold ", "grey62").append(f"{stats.oldest_hold:.1f} s", "bold")
    return [*lines, _quantiles("wait", samples.wait()), use, *gap]


def _slots(programme: Programme, width: int) -> list[Text]:
    stats = programme.samples.now
    states = [style for _, field, style in _STATES for _ in range(getattr(stats, field))]
    cell = max(2, min(5, (width - 30) // BURST_LIMIT))
    line = Text(" slots      ")
    for number in range(BURST_LIMIT):
        if number == MAX_SIZE:
            line.append("┊ ", "grey62")
        if number < len(states):
            line.append("█" * (cell - 1) + " ", states[number])
        else:
            line.append("░" * (cell - 1) + " ", "grey35")
    return [line.append(f"{stats.total}", "bold gold1" if stats.bursting else "bold")]


def _chart(
    label: str, values: Sequence[float], top: float, style: str, shown: str, width: int, height: int
) -> list[Text]:
    """Bars over time, the newest at the right; a column is two samples, of which it shows the higher."""
    columns = [max(pair) for pair in zip(values[::2], values[1::2], strict=False)][-width:]
    columns = [0.0] * (width - len(columns)) + columns
    rows = []
    for row in reversed(range(height)):
        filled = [max(0, min(8, math.ceil(value / top * 8 * height) - 8 * row)) for value in columns]
        rows.append("".join(_BLOCKS[eighths] for eighths in filled))
    lines = [Text(" " * 12).append(bars, style) for bars in rows]
    lines[-1] = Text(f" {label:<11}").append(rows[-1], style).append(f" {shown:>10}", "bold")
    return lines


def _quantiles(name: str, of: Quantiles) -> Text:
    line = Text(f" {name:<11}")
    for label, value in (("p50", of.p50), ("p95", of.p95), ("p99", of.p99)):
        line.append(f"{label} ", "grey62").append(f"{ms(value):<11}", "bold")
    return line


def _stream(programme: Programme, width: int, height: int) -> list[Text]:
    """The newest events, wrapped where they are long."""
    lines: list[Text] = []
    for line in list(programme.feed.lines)[-height:]:
        margin = Text().append(f" {line.at:5.1f} s {times(line)} ", "grey62")
        for text in _wrapped(line.text, width - len(margin)):
            text.stylize(_STYLES[line.style])
            lines.append(margin + text)
            margin = Text(" " * len(margin))
    shown = lines[-(height - 1) :] if height > 1 else []
    return [_rule("events", width), *shown, *[Text()] * (height - 1 - len(shown))]


def _claims(programme: Programme, width: int, height: int) -> list[Text]:
    """What the acts so far have claimed, the newest if there is not room for all."""
    lines: list[Text] = []
    if height < 1:
        return lines
    for claim in programme.claims[-height:]:
        mark = ("✓ ", "green3") if claim.holds else ("✗ ", "red1")
        lines.append(Text(" ").append(*mark).append(claim.text))
    return [_rule("claimed and measured", width), *lines] if lines else []


def _wrapped(text: str, width: int) -> list[Text]:
    return list(Text(text).wrap(_MEASURE, max(8, width)))


def _beside(left: list[Text], right: list[Text], width: int, height: int) -> list[Text]:
    lines = []
    for number in range(height):
        line = left[number] if number < len(left) else Text()
        line.truncate(width - 1, pad=True)
        lines.append(line + Text("│", "grey42") + (right[number] if number < len(right) else Text()))
    return lines


def _rule(title: str, width: int) -> Text:
    return Text(f"── {title} ", "grey42").append("─" * max(0, width - len(title) - 4), "grey42")
