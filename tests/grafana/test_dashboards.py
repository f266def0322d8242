"""The committed dashboards are what their code builds, keep the linter's rules, and lead where they say."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from instrumented_pool.metrics import COUNTS, DURATIONS
from instrumented_pool_prometheus._names import family_name, series_name
from pool_dashboards import _queries
from pool_dashboards.__main__ import BOARDS, write
from support.board_rules import RULES
from support.boards import DASHBOARDS, NAMES, Json, expressions, load, panels, variables

SEEDS = range(5)


@pytest.fixture(params=NAMES)
def board(request: pytest.FixtureRequest) -> Json:
    """Each of the dashboards."""
    return load(request.param)


def test_committed_dashboards_are_what_the_code_builds(tmp_path: Path) -> None:
    """Where this fails: `make dashboards`."""
    write(tmp_path)
    built = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert built == {path.name: path.read_text() for path in DASHBOARDS.iterdir()}
    assert built.keys() == BOARDS.keys() == {f"{name}.json" for name in NAMES}


def test_a_renamed_metric_breaks_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not a panel, months later."""
    monkeypatch.delitem(_queries._SERIES, "instrumented_pool.oldest_hold")
    with pytest.raises(KeyError):
        BOARDS["pool-detail.json"]()


@pytest.mark.parametrize("rule", RULES)
def test_dashboards_keep_the_linters(rule: str, board: Json) -> None:
    """Each rule of Grafana's dashboard-linter."""
    assert list(RULES[rule](board)) == []


def test_no_rule_of_the_linter_is_missing() -> None:
    """It has seventeen."""
    assert len(RULES) == 17


# What a hand that edits a dashboard may do wrong, by the rule that must notice. Each picks its place by chance.


def _variable(board: Json, chance: Random, kind: str) -> Json:
    return chance.choice([each for each in board["templating"]["list"] if each["type"] == kind])


def _target(board: Json, chance: Random, containing: str = "") -> Json:
    return chance.choice(
        [target for panel in panels(board) for target in panel["targets"] if containing in target["expr"]]
    )


def _replaced(containing: str, by: str) -> Callable[[Json, Random], None]:
    def mutate(board: Json, chance: Random) -> None:
        target = _target(board, chance, containing)
        target["expr"] = target["expr"].replace(containing, by, 1)

    return mutate


MUTATIONS: list[tuple[str, Callable[[Json, Random], object]]] = [
    ("template-datasource-rule", lambda board, chance: _variable(board, chance, "datasource").update(name="ds")),
    ("template-datasource-rule", lambda board, chance: _variable(board, chance, "datasource").update(label="Source")),
    ("template-job-rule", lambda board, _: variables(board)["job"].update(multi=False)),
    ("template-job-rule", lambda board, _: board["templating"]["list"].remove(variables(board)["job"])),
    ("template-instance-rule", lambda board, _: variables(board)["instance"].update(allValue=".*")),
    ("template-instance-rule", lambda board, _: variables(board)["instance"].update(datasource={"uid": "mine"})),
    ("template-label-promql-rule", lambda board, chance: _variable(board, chance, "query").update(query="up")),
    ("template-label-promql-rule", lambda board, _: variables(board)["pool"].update(query="label_values(a{b, c)")),
    ("template-on-time-change-reload-rule", lambda board, chance: _variable(board, chance, "query").update(refresh=1)),
    ("panel-datasource-rule", lambda board, chance: chance.choice(panels(board)).update(datasource={"uid": "mine"})),
    ("panel-datasource-rule", lambda board, chance: _target(board, chance).update(datasource={"uid": "mine"})),
    ("panel-title-description-rule", lambda board, chance: chance.choice(panels(board)).update(title="")),
    ("panel-title-description-rule", lambda board, chance: chance.choice(panels(board)).pop("description")),
    ("panel-units-rule", lambda board, chance: chance.choice(panels(board))["fieldConfig"]["defaults"].pop("unit")),
    ("panel-units-rule", lambda board, c: c.choice(panels(board))["fieldConfig"]["defaults"].update(unit="secs")),
    ("panel-no-targets-rule", lambda board, chance: chance.choice(panels(board)).update(targets=[])),
    ("target-logql-rule", lambda board, chance: _target(board, chance).update(datasource={"type": "loki"})),
    ("target-logql-auto-rule", lambda board, chance: chance.choice(panels(board)).update(datasource={"type": "loki"})),
    ("target-promql-rule", _replaced(")", "")),
    ("target-promql-rule", _replaced("{", "{{")),
    ("target-rate-interval-rule", _replaced("$__rate_interval", "5m")),
    ("target-rate-interval-rule", _replaced("$__rate_interval", "1h")),
    ("target-job-rule", _replaced('job=~"$job", ', "")),
    ("target-job-rule", _replaced('job=~"$job"', 'job="$job"')),
    ("target-instance-rule", _replaced('instance=~"$instance", ', "")),
    ("target-instance-rule", _replaced('instance=~"$instance"', 'instance=~"$job"')),
    ("target-counter-agg-rule", _replaced("rate(db_client_connection_timeouts", "delta(db_client_connection_timeouts")),
    ("uneditable-dashboard", lambda board, _: board.update(editable=True)),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("rule", "mutate"), MUTATIONS, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(MUTATIONS)]
)
def test_the_rule_notices(rule: str, mutate: Callable[[Json, Random], object], seed: int, board: Json) -> None:
    """A mutated dashboard, and no other."""
    mutated = copy.deepcopy(board)
    mutate(mutated, Random(f"{rule} {seed}"))
    assert mutated != board
    assert list(RULES[rule](mutated))


def test_every_rule_has_a_mutation() -> None:
    """A rule that nothing breaks says nothing."""
    assert {rule for rule, _ in MUTATIONS} == RULES.keys()


# What the linter does not ask.


def test_titles_are_questions_and_no_two_are_alike(board: Json) -> None:
    """At three in the morning a question is what one has."""
    titles = [panel["title"] for panel in board["panels"]]
    assert all(title.endswith("?") for title in titles)
    assert len(set(titles)) == len(titles)


def test_descriptions_say_what_is_good_and_what_to_do(board: Json) -> None:
    """Both, in every panel."""
    for panel in panels(board):
        _, good, otherwise = panel["description"].split("\n\n")
        assert re.match(r"\*\*Good:\*\* .*\.$", good), panel["title"]
        assert re.match(r"\*\*If not:\*\* .*\.$", otherwise), panel["title"]


def test_panels_fill_the_grid_without_a_gap(board: Json) -> None:
    """Every cell of the grid of 24 columns belongs to exactly one panel."""
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)) == 24 * (max(y for _, y in cells) + 1)


def test_every_metric_has_its_place() -> None:
    """What is exported is shown, but for `min_size`."""
    shown = " ".join(expr for name in NAMES for _, expr in expressions(load(name)))
    names = {*map(series_name, COUNTS), *(f"{family_name(duration)}_bucket" for duration in DURATIONS)}
    assert {name for name in names if f"{name}{{" not in shown} == {"db_client_connection_idle_min"}


def test_distributions_ask_for_exemplars() -> None:
    """On the detail, wherever a line or a cell can lead to a trace."""
    asked = {
        target.get("exemplar", False)
        for panel in panels(load("pool-detail"))
        for target in panel["targets"]
        if "_bucket" in target["expr"] and not target["instant"]
    }
    assert asked == {True}


@pytest.mark.parametrize(("here", "there"), [("pool-fleet", "pool-detail"), ("pool-detail", "pool-fleet")])
def test_dashboards_link_to_each_other_and_keep_what_is_chosen(here: str, there: str) -> None:
    """Time and variables go along."""
    link = next(link for link in load(here)["links"] if link["url"] == f"/d/{load(there)['uid']}")
    assert link["includeVars"]
    assert link["keepTime"]


def test_a_row_of_the_table_leads_to_the_detail_of_its_pool() -> None:
    """With job, instance and pool of that row, which are columns of the table and variables of the detail."""
    (table,) = (panel for panel in panels(load("pool-fleet")) if panel["type"] == "table")
    (url,) = {
        link["url"]
        for override in table["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
    }
    chosen = dict(re.findall(r"var-(\w+)=\$\{__data\.fields\.(\w+):percentencode\}", url))
    columns = table["transformations"][1]["options"]["renameByName"]
    detail = load("pool-detail")
    assert url.startswith(f"/d/{detail['uid']}?${{__url_time_range}}&${{prometheus_datasource:queryparam}}&")
    assert chosen.keys() == {"job", "instance", "pool"} <= variables(detail).keys()
    assert set(chosen.values()) <= set(columns.values())


def test_the_worst_pool_is_the_first_row() -> None:
    """The table is sorted by a column that it has, the highest first; every column has its name."""
    (table,) = (panel for panel in panels(load("pool-fleet")) if panel["type"] == "table")
    renamed = table["transformations"][1]["options"]["renameByName"]
    (sorted_by,) = table["options"]["sortBy"]
    assert (sorted_by["displayName"], sorted_by["desc"]) == ("Pressure", True)
    assert {f"Value #{target['refId']}" for target in table["targets"]} <= renamed.keys()


@pytest.mark.parametrize("kind", ["tempo", "jaeger"])
def test_links_to_traces_are_addresses_of_explore(kind: str) -> None:
    """Once Grafana has put the variables in, they are the JSON that Explore reads, with the chosen data source."""
    (url,) = (link["url"] for link in load("pool-detail")["links"] if link["title"].lower() == f"traces in {kind}")
    values = {"pool": "orders#2", "job": "shop & co"}  # a second pool of a name is called like that

    def value(variable: re.Match[str]) -> str:
        text = values.get(variable[1], f"<{variable[1]}>")
        return quote(text) if variable[2] == ":percentencode" else text

    address = urlsplit(re.sub(r"\$\{(\w+)(:\w+)?\}", value, url))
    assert address.path == "/explore"
    (panes,) = parse_qs(address.query)["panes"]
    pane = json.loads(panes)["pool"]
    (query,) = pane["queries"]
    assert pane["datasource"] == query["datasource"]["uid"] == f"<{kind}_datasource>"
    assert f"{kind}_datasource" in variables(load("pool-detail"))
    assert "db.client.connection.pool.name" in json.dumps(query)
    assert "orders#2" in json.dumps(query)
    assert query.get("service", "shop & co") == "shop & co"
