"""The pages are complete and true: settings, commands, links, examples, and the names of everything one can set."""

import importlib
import re
import shlex
import tomllib
import warnings
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import typer

from api.app import create_app, operations
from api.candidates import SOURCES
from api.fake import Fake
from api.keys import Scope
from api.ladder import KNOWN
from api.memory import MemoryProducer
from api.query import EXPLODED
from api.routes.recommend import Anonymous, PopularQuery, RecommendQuery
from models import features, surfaces
from models.actions import DEFAULTS
from models.definitions import check
from ops.cli import app as cli
from ops.experiment.define import read
from streams.events import Event, decode
from streams.experiments import Arm, Definition, Metric, Step, Where
from streams.items import Item
from streams.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the client asks for a successor of httpx that is not needed here
    from starlette.testclient import TestClient

ROOT = Path(__file__).parents[1]
NOW = 1_750_000_000_000
PAGES = [ROOT / f"{name}.md" for name in ("README", "topology", "CONTRIBUTING", "CHANGELOG")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
TEXTS = {page: page.read_text() for page in PAGES}
every_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def text(name):
    return TEXTS[ROOT / name]


def blocks(page, language):
    found = re.findall(rf"^```{language}\n(.*?)^```", TEXTS[page], re.MULTILINE | re.DOTALL)
    return [block.replace("\\\n", " ") for block in found]


def first_cells(name):
    """Every name in backticks in the first cell of a table row."""
    rows = re.findall(r"^\| ([^|]*?) \|", text(name), re.MULTILINE)
    return {found for row in rows for found in re.findall(r"`([^`]+)`", row)}


def anchors(page):
    heads = re.findall(r"^#+ (.+)$", TEXTS[page], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.fixture(scope="module")
def client():
    """The API over a folded log in which the pages' user and items are known."""
    items = {
        name: Item(title=name, categories=("tea", "drinks")) for name in ("tea", "milk", "bread", "mate")
    }
    log = [
        Event(event_id=f"e{n}", type="click", at=NOW - 9_000 + n, user_id="anna", item_id=item)
        for n, item in enumerate(("bread", "tea"))
    ]
    made = create_app(
        Settings(dimensions=16, partitions=4),
        state=Fake.of(log, items, NOW, dimensions=16).state,
        producer=MemoryProducer(),
        slate_producer=MemoryProducer(),
        now=lambda: NOW,
    )
    with TestClient(made, base_url="http://127.0.0.1:8088") as client:
        yield client


# Settings and commands


def test_operators_know_every_setting_and_its_default():
    said = dict(
        re.findall(r"^\| `(REFOLD_\w+)` \| (?:`([^`]*)`)? *\|", text("docs/operators.md"), re.MULTILINE)
    )
    known = {f"REFOLD_{field.name.upper()}": field.default for field in fields(Settings)}
    switch = {True: "on", False: "off"}

    assert said == {
        name: switch[value] if isinstance(value, bool) else str(value) for name, value in known.items()
    }


@every_page
def test_every_setting_named_exists(page):
    known = {f"REFOLD_{field.name.upper()}" for field in fields(Settings)}

    assert set(re.findall(r"REFOLD_[A-Z_]+[A-Z]", TEXTS[page])) <= known


@every_page
def test_every_command_exists(page):
    said = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("refold ")]
    said += re.findall(r"`(refold [^`]+)`", TEXTS[page])
    for line in said:
        words = shlex.split(line, comments=True)[1:]
        command = typer.main.get_command(cli)
        while getattr(command, "commands", None) and words:
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_every_command_is_said():
    def leaves(command, path):
        below = getattr(command, "commands", {})
        return [leaf for name in below for leaf in leaves(below[name], f"{path} {name}")] or [path]

    said = "".join(TEXTS.values())
    for leaf in leaves(typer.main.get_command(cli), "refold"):
        assert leaf in said, leaf


@every_page
def test_every_make_target_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = re.findall(r"`make ([a-z-]+)`", TEXTS[page])
    said += [
        name for block in blocks(page, "sh") for name in re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)
    ]

    assert set(said) <= targets


# Links


@every_page
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_decision_is_indexed():
    index = text("docs/adr/README.md")

    for page in sorted((ROOT / "docs/adr").glob("0*.md")):
        title = re.match(rf"# {page.name[:4]}: (.+)\n\nStatus: (\w+)\n", TEXTS[page])
        assert f"| [{page.name[:4]}]({page.name}) | {title[1]} | {title[2]} |" in index


@every_page
def test_paths_of_the_tree_exist(page):
    packages = ("streams", "models", "agents", "api", "ops", "bench", "docker", "tests")
    for path in re.findall(rf"`((?:{'|'.join(packages)})/[\w/.-]+)`", TEXTS[page]):
        if path == "docker/.env":  # the operator's own
            continue
        assert (ROOT / path).exists(), path


# Examples


def curls(page):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("curl ")]


@pytest.mark.parametrize(
    "words", [words for page in PAGES for words in curls(page)], ids=lambda words: " ".join(words)[:70]
)
def test_every_curl_is_answered(client, words):
    method, body, headers, url = "GET", None, {}, ""
    rest = iter(words[1:])
    for word in rest:
        match word:
            case "-X":
                method = next(rest)
            case "-d":
                body = next(rest)
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case _:
                url = word
    assert url.startswith("http://127.0.0.1:8088/")

    answer = client.request(method, url, content=body, headers=headers)

    assert answer.status_code in (200, 202), answer.text
    assert not (answer.headers["content-type"] == "application/json" and answer.json().get("refused"))


def test_the_record_for_kafka_is_accepted():
    names = {}
    exec(blocks(ROOT / "docs/clients.md", "python")[0], names)

    assert [event.user for event in decode(names["record"], names["event"]["at"])] == ["anna"]


@pytest.mark.parametrize("block", blocks(ROOT / "docs/surfaces.md", "toml"))
def test_a_configuration_is_accepted(tmp_path, block):
    (tmp_path / "config.toml").write_text(block)

    assert surfaces.load(tmp_path / "config.toml").surfaces.keys() >= tomllib.loads(block)["surfaces"].keys()


@pytest.mark.parametrize("block", blocks(ROOT / "docs/experiments.md", "toml"))
def test_a_definition_is_accepted(tmp_path, block):
    (tmp_path / "tried.toml").write_text(block)

    check(read(tmp_path / "tried.toml"), surfaces.load(), ())


# Names


def test_clients_know_every_field_of_an_event():
    assert first_cells("docs/clients.md") >= set(Event.__struct_fields__)


def test_every_feature_is_described_as_declared():
    words = {"near-real-time": "folded", "request-time": "request", "batch": "batch"}
    said = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \|", text("docs/features.md"), re.MULTILINE)

    assert said == [(feature.name, feature.scope, words[feature.freshness]) for feature in features.CATALOGUE]


def test_every_parameter_of_a_surface_is_described():
    said = first_cells("docs/surfaces.md")
    kinds = (surfaces.Surface, surfaces.Quotas)

    assert said >= {name for kind in kinds for name in kind.__struct_fields__}


def test_every_part_of_a_definition_is_described():
    said = set(re.findall(r"`(\w+)", text("docs/experiments.md")))
    kinds = (Definition, Arm, Metric, Step, Where)

    assert said >= {name for kind in kinds for name in kind.__struct_fields__}


def test_the_defaults_of_quotas_are_said():
    said = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text("docs/surfaces.md"), re.MULTILINE))
    quotas = surfaces.Quotas()

    assert {name: int(said[name]) for name in quotas.__struct_fields__} == {
        name: getattr(quotas, name) for name in quotas.__struct_fields__
    }


def test_the_weights_of_actions_are_said():
    section = text("docs/surfaces.md").split("## Actions")[1].split("\n## ")[0]
    said = {name: float(weight) for name, weight in re.findall(r"\| `(\w+)` \| (-?[\d.]+)", section)}

    assert said == dict(DEFAULTS)


def test_the_built_in_surfaces_are_said():
    line = re.search(r"^Built in: (.*)$", text("docs/surfaces.md"), re.MULTILINE)[1]

    assert set(re.findall(r"`(\w+)`", line)) == set(surfaces.load().surfaces)


def test_apps_know_every_parameter_source_rung_and_field(client):
    page = text("docs/apps.md")
    said = set(re.findall(r"`([^`\s]+)`", page)) | first_cells("docs/apps.md")
    answer = client.get("/v1/recommend/anna?explain=true").json()

    assert said >= {f"{name}.NAME" if name in EXPLODED else name for name in RecommendQuery.__struct_fields__}
    assert said >= set(PopularQuery.__struct_fields__) - {"ctx"}
    assert said >= set(Anonymous.__struct_fields__)
    assert said >= {*SOURCES, "explore"}
    assert first_cells("docs/apps.md") >= {*KNOWN, "cached", "empty"}
    assert said >= set(answer) | set(answer["state"])
    assert "features" in answer["items"][0]


def test_apps_know_every_problem():
    sources = "".join(path.read_text() for path in (ROOT / "api").rglob("*.py"))
    names = set(re.findall(r"Problem\(\s*\d+,\s*\"([a-z-]+)\"", sources))

    assert names <= first_cells("docs/apps.md") | set(re.findall(r"`([a-z-]+)`", text("docs/apps.md")))


def test_operators_know_every_figure(client):
    exposed = client.get("/metrics").text
    families = re.findall(r"^# TYPE (refold_\w+) (\w+)", exposed, re.MULTILINE)
    names = {name for name, _ in families if not name.endswith("_created")}

    assert {name for name in first_cells("docs/operators.md") if name.startswith("refold_")} == names


@pytest.mark.parametrize(
    "bench",
    [
        "ingest",
        "freshness",
        "outcome",
        "serve",
        "score",
        "learn",
        "ahead",
        "assign",
        "index",
        "rebuild",
        "recovery",
    ],
)
def test_performance_names_every_target_with_its_bound(bench):
    rows = re.findall(r"^\| (?:\w+)? ?\| (.*?) \| (.*?) \|", text("docs/performance.md"), re.MULTILINE)
    for name, (how, bound) in importlib.import_module(f"bench.{bench}").TARGETS.items():
        assert any(f"`{name}`" in row and said == f"{how} {bound:,g}" for row, said in rows), name


def test_every_operation_stands_in_a_page(client):
    said = "".join(TEXTS.values())
    for operation in operations(client.app.state.services):
        fixed = operation.path.partition("{")[0].rstrip("/") or "/"
        assert fixed in said or operation.path.startswith("/static"), operation.path


def test_scopes_are_said():
    assert {scope for scope in get_args(Scope) if scope != "open"} <= set(
        re.findall(r"`(\w+)`", text("docs/apps.md"))
    )
