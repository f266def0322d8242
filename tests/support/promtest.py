"""`promtool test rules`: Prometheus's own engine runs our rules over series that we give it, hours in a second."""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from .prometheus import promtool
from .rules import GROUPS, RULES

Series: TypeAlias = Mapping[str, str]
"""The values of each series, in promtool's notation, by its name and labels."""

Scraped: TypeAlias = tuple[str, Mapping[str, str], float]
"""The name, labels and value of a sample."""


class History:
    """What was scraped, at regular times from nought on."""

    def __init__(self) -> None:
        self._values: dict[str, dict[int, float]] = {}
        self._scrapes = 0

    def add(self, samples: Iterable[Scraped]) -> None:
        """Take in one scrape."""
        for name, labels, value in samples:
            self._values.setdefault(selector(name, labels), {})[self._scrapes] = value
        self._scrapes += 1

    def series(self) -> Series:
        """All of it; what a scrape does not have any more is stale, as with Prometheus."""
        return {name: " ".join(self._notation(values)) for name, values in self._values.items()}

    def _notation(self, values: dict[int, float]) -> Iterable[str]:
        for scrape in range(self._scrapes):
            if scrape in values:
                yield f"{values[scrape]:.9f}".rstrip("0").rstrip(".")
            else:
                yield "stale" if scrape - 1 in values else "_"


def selector(name: str, labels: Mapping[str, str]) -> str:
    """A series as PromQL writes it."""
    return f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}"


def check(
    series: Series,
    *,
    every: str,
    expressions: Sequence[Mapping[str, Any]] = (),
    alerts: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Run the rules over `series` and compare; nothing if all is as expected, or else what promtool says."""
    tests = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": every,
        "group_eval_order": GROUPS,  # otherwise in an order of chance, as in Prometheus
        "tests": [
            {
                "interval": every,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": expressions,
                "alert_rule_test": alerts,
            }
        ],
    }
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tests.json"  # JSON is YAML
        path.write_text(json.dumps(tests))
        done = promtool("test", "rules", path)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def first_fired(series: Series, *, every: str, until: str) -> dict[tuple[str, str], float]:
    """When each alert of each job fired first, in seconds from the start."""
    expr = f'min by (alertname, job) (min_over_time(timestamp(ALERTS{{alertstate="firing"}})[{until}:{every}]))'
    said = check(series, every=every, expressions=[{"expr": expr, "eval_time": until, "exp_samples": []}])
    found = re.findall(r"\{(.*?)\} ([\d.E+]+)", said.rpartition("got:")[2])
    assert found or not said, said
    fired: dict[tuple[str, str], float] = {}
    for labels, seconds in found:
        names = dict(re.findall(r'(\w+)="(\w+)"', labels))
        fired[names["alertname"], names["job"]] = float(seconds)
    return fired


def rendered(series: Series, alert: str, *, every: str, at: str) -> str:
    """What promtool says of an alert that fires: its labels and annotations, with everything filled in."""
    return check(series, every=every, alerts=[{"alertname": alert, "eval_time": at, "exp_alerts": []}])
