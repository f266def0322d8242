"""A real Prometheus of a test's own, which scrapes what it is told to, and its promtool.

It is up in a tenth of a second, and knows its targets five seconds later, which nothing shortens: share one.
"""

import asyncio
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias
from urllib.parse import urlencode

from instrumented_pool._servers import HOST, NotInstalled, Server

Labels: TypeAlias = frozenset[tuple[str, str]]

_PATIENCE = 60.0  # seconds in which anything has to happen


@dataclass(frozen=True)
class Exemplar:
    """What Prometheus has kept of an exemplar: of which series, its own labels, and its value."""

    series: dict[str, str]
    labels: dict[str, str]
    value: float


class Prometheus(Server):
    """The server of Debian's package as a process of ours, with exemplars, its data in a directory of its own.

    Args:
        ports: scraped at this host, by the name of their job.
        every: seconds between two scrapes, and between two evaluations of the rules.
        rules: files of recording and alerting rules.
    """

    name: ClassVar[str] = "Prometheus"
    patience: ClassVar[float] = _PATIENCE

    def __init__(self, ports: Mapping[str, int], *, every: float = 2.0, rules: tuple[Path, ...] = ()) -> None:
        super().__init__()
        self._ports = ports
        self._every = f"{round(every * 1000)}ms"
        self._rules = rules

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{self.host}:{self.port}"

    def command(self) -> list[str]:
        """Debian's, with a configuration of its own."""
        config = self.directory / "prometheus.json"  # JSON is YAML
        config.write_text(json.dumps(self._config()))
        options = {
            "config.file": config,
            "web.listen-address": f"{self.host}:{self.port}",
            "storage.tsdb.path": self.directory / "data",
            "enable-feature": "exemplar-storage",
        }
        return [_find("prometheus"), *(f"--{name}={value}" for name, value in options.items())]

    async def answers(self) -> bool:
        """Whether it says that it is ready."""
        return (await asyncio.to_thread(self._request, "/-/ready"))[0] == 200

    async def query(self, promql: str) -> dict[Labels, float]:
        """What an expression is worth now, by the labels of each series other than `job` and `instance`."""
        data = await self._get("/api/v1/query", query=promql)
        return {_own(series["metric"]): float(series["value"][1]) for series in data["result"]}

    async def history(self, promql: str, start: float, end: float, step: float) -> dict[Labels, list[float]]:
        """What an expression was worth from one time to another, by the labels as in `query`."""
        data = await self._get("/api/v1/query_range", query=promql, start=start, end=end, step=step)
        return {_own(series["metric"]): [float(value) for _, value in series["values"]] for series in data["result"]}

    async def value(self, promql: str) -> float:
        """What an expression of one series is worth now."""
        (value,) = (await self.query(promql)).values()
        return value

    async def exemplars(self, promql: str) -> list[Exemplar]:
        """The exemplars of all series that an expression names, of the last hour."""
        now = time.time()
        data = await self._get("/api/v1/query_exemplars", query=promql, start=now - 3600, end=now + 60)
        return [
            Exemplar(dict(_own(series["seriesLabels"])), each["labels"], float(each["value"]))
            for series in data
            for each in series["exemplars"]
        ]

    async def scraped(self) -> None:
        """Return when every target has been scraped once more, in a scrape that began after this call.

        Raises:
            AssertionError: a target cannot be scraped, for the reason that Prometheus gives.
        """
        began, deadline = time.time(), time.monotonic() + _PATIENCE
        while await self.value(f"count(timestamp(up) > {began} and up == 1) or vector(0)") < len(self._ports):
            assert time.monotonic() < deadline, await self._complaints()
            await asyncio.sleep(0.02)

    async def _complaints(self) -> str:
        targets = (await self._get("/api/v1/targets"))["activeTargets"]
        return f"not scraped in {_PATIENCE:.0f} s: {[(each['scrapeUrl'], each['lastError']) for each in targets]}"

    def _config(self) -> dict[str, Any]:
        return {
            "global": {"scrape_interval": self._every, "evaluation_interval": self._every},
            "rule_files": [str(path) for path in self._rules],
            "scrape_configs": [
                {"job_name": job, "scrape_timeout": self._every, "static_configs": [{"targets": [f"{HOST}:{port}"]}]}
                for job, port in self._ports.items()
            ],
        }

    async def _get(self, path: str, **parameters: object) -> Any:
        status, body = await asyncio.to_thread(self._request, f"{path}?{urlencode(parameters)}")
        answer = json.loads(body)
        assert status == 200, answer
        return answer["data"]

    def _request(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def promtool(*arguments: str | Path, reads: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool, which reads a text, and give back what it says."""
    command = [_find("promtool"), *arguments]
    return subprocess.run(command, input=reads, capture_output=True, text=True, timeout=_PATIENCE, check=False)


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise NotInstalled(
            f"{program} is not here: apt-get install prometheus, or have the release's two binaries on the PATH"
        )
    return path


def _own(labels: Mapping[str, str]) -> Labels:
    return frozenset((key, value) for key, value in labels.items() if key not in ("job", "instance"))
