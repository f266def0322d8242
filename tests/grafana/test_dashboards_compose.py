"""The files that docker and Grafana are given fit together, as far as that shows without docker: none is run."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from pool_dashboards._boards import DETAIL, FLEET
from support.boards import GRAFANA, Json, load
from support.pages import DOCS, blocks
from support.prometheus import promtool


def read(name: str) -> Json:
    """One of the files."""
    content: Json = yaml.safe_load((GRAFANA / name).read_text())
    return content


COMPOSE, COLLECTOR, PROMETHEUS, TEMPO = map(read, ("compose.yaml", "collector.yaml", "prometheus.yaml", "tempo.yaml"))
SOURCES: dict[str, Any] = {each["uid"]: each for each in read("provisioning/datasources/pools.yaml")["datasources"]}

# What listens in each service: by its configuration, or by the defaults of its program.
LISTENS = {
    "collector": {COLLECTOR["receivers"]["otlp"]["protocols"]["http"]["endpoint"], "0.0.0.0:8889"},
    "tempo": {
        TEMPO["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"],
        f"0.0.0.0:{TEMPO['server']['http_listen_port']}",
    },
    "jaeger": {"0.0.0.0:4317", "0.0.0.0:16686"},
    "prometheus": {"0.0.0.0:9090"},
    "grafana": {"0.0.0.0:3000"},
}
ADDRESSES = [
    urlsplit(COMPOSE["services"]["demo"]["command"][-1]).netloc,
    *(each["endpoint"] for name, each in COLLECTOR["exporters"].items() if name.startswith("otlp/")),
    *(target for job in PROMETHEUS["scrape_configs"] for each in job["static_configs"] for target in each["targets"]),
    *(urlsplit(source["url"]).netloc for source in SOURCES.values()),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_whoever_is_called_is_there_and_listens(address: str) -> None:
    """Every address in every file is a service of the compose file's, at a port that it listens to."""
    service, port = address.split(":")
    assert service in COMPOSE["services"]
    assert f"0.0.0.0:{port}" in LISTENS[service]


def test_what_is_published_is_published_to_this_machine_alone() -> None:
    """Grafana asks for no log-in."""
    published = [(name, port) for name, each in COMPOSE["services"].items() for port in each.get("ports", ())]
    assert {name for name, _ in published} == {"grafana", "prometheus", "jaeger"}
    for name, port in published:
        host, outside, inside = port.split(":")
        assert (host, outside) == ("127.0.0.1", inside)
        assert f"0.0.0.0:{inside}" in LISTENS[name]


def test_what_is_mounted_is_there_and_where_it_is_looked_for() -> None:
    """Every path of the tree exists, and every path that a service is told of is mounted into it."""
    mounts = {
        name: dict(volume.split(":")[1::-1] for volume in each.get("volumes", ()))
        for name, each in COMPOSE["services"].items()
    }
    for name, mounted in mounts.items():
        for source in mounted.values():
            assert (GRAFANA / source).exists(), (name, source)
    (provider,) = read("provisioning/dashboards/pools.yaml")["providers"]
    assert mounts["grafana"][provider["options"]["path"]] == "./dashboards"
    home = Path(COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (GRAFANA / mounts["grafana"][str(home.parent)] / home.name).is_file()
    for name in ("collector", "prometheus", "tempo"):
        told = re.findall(r"/etc/[\w/.]+", " ".join(COMPOSE["services"][name]["command"]))
        assert told
        assert set(told) <= mounts[name].keys()


def test_rules_of_the_tree_are_mounted_where_prometheus_looks_for_them() -> None:
    """Beside its configuration, as they are in the tree."""
    mounted = [volume.split(":")[:2] for volume in COMPOSE["services"]["prometheus"]["volumes"]]
    folders = {Path(pattern).parent for pattern in PROMETHEUS["rule_files"]}
    assert folders
    assert all([f"./{folder}", f"/etc/prometheus/{folder}"] in mounted for folder in folders)


def test_services_wait_for_services_that_there_are() -> None:
    """And for nobody else."""
    for each in COMPOSE["services"].values():
        assert set(each.get("depends_on", ())) <= COMPOSE["services"].keys()


def test_the_collectors_pipelines_are_made_of_what_it_has() -> None:
    """Receivers and exporters, each of which is used."""
    for kind in ("receivers", "exporters"):
        used = {name for pipeline in COLLECTOR["service"]["pipelines"].values() for name in pipeline[kind]}
        assert used == COLLECTOR[kind].keys()


def test_exemplars_lead_to_data_sources_that_there_are() -> None:
    """Both tracers, by the label that both exporters give."""
    destinations = SOURCES["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert [(each["name"], each["datasourceUid"]) for each in destinations] == [
        ("trace_id", "tempo"),
        ("trace_id", "jaeger"),
    ]
    for each in destinations:
        assert SOURCES[each["datasourceUid"]]["type"] == each["datasourceUid"]


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    """$__rate_interval depends on it."""
    assert SOURCES["prometheus"]["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_promtool_reads_prometheus_configuration() -> None:
    """With the rules beside it."""
    done = promtool("check", "config", GRAFANA / "prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_have_the_ids_that_their_links_use() -> None:
    """Two files of one id would replace each other."""
    assert [load(name)["uid"] for name in ("pool-fleet", "pool-detail")] == [FLEET, DETAIL]


def test_the_page_shows_what_is_provisioned() -> None:
    """Both blocks of YAML, but for the path."""
    provider, source = (yaml.safe_load(text) for text in blocks(DOCS / "grafana.md", "yaml"))
    provider["providers"][0]["options"]["path"] = "/var/lib/grafana/dashboards"
    assert provider == read("provisioning/dashboards/pools.yaml")
    assert source["jsonData"].items() <= SOURCES["prometheus"]["jsonData"].items()


def test_the_page_asks_what_the_detail_asks() -> None:
    """In the same order."""
    asked = re.findall(r"^\| ([^|]*\?) \|", (DOCS / "grafana.md").read_text(), re.MULTILINE)
    assert asked == [panel["title"] for panel in load("pool-detail")["panels"] if panel["type"] == "row"]
