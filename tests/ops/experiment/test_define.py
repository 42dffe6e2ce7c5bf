"""Definitions as people write them, and who has which arm."""

import json

import pytest

from models.definitions import defined, held, started
from models.surfaces import load
from models.users import User
from ops.experiment.define import listed, read, step, told, who
from streams.errors import Refused
from streams.experiments import Arm, Definition, Known, Step, Where

NOW = 1_795_428_000_000
CONFIG = load()


def known(*said, start=True):
    found = Known()
    for one in said:
        record = defined(found, one, CONFIG, (), NOW, "me")
        found = Known({**found.records, record.key: record})
        if start:
            record = started(found, record.key, CONFIG, (), NOW, "me")
            found = Known({**found.records, record.key: record})
    return found


def definition(key="e", **more):
    arms = {"a": Arm(), "b": Arm(set={"diversity": 0.5})}
    return Definition(**({"key": key, "arms": arms, "control": "a", "version": 0} | more))


def test_a_file_is_toml_or_json_and_toml_has_dates(tmp_path):
    ramp = "ramp = [{ at = 2026-11-23T10:00:00Z, share = 0.1 }, { at = 2026-11-23T11:00:00, share = 1.0 }]\n"
    toml, same = tmp_path / "e.toml", tmp_path / "e.json"
    toml.write_text(
        f'key = "e"\ncontrol = "a"\n{ramp}arms.a = {{}}\narms.b = {{ set = {{ diversity = 0.5 }} }}\n'
    )
    steps = [{"at": NOW, "share": 0.1}, {"at": NOW + 3_600_000, "share": 1.0}]
    arms = {"a": {}, "b": {"set": {"diversity": 0.5}}}
    same.write_text(json.dumps({"key": "e", "control": "a", "arms": arms, "ramp": steps}))
    assert read(toml) == read(same) == definition(ramp=(Step(NOW, 0.1), Step(NOW + 3_600_000, 1.0)))


@pytest.mark.parametrize(
    ("name", "said", "reason"),
    [
        ("e.toml", "key = ", "is not TOML"),
        ("e.json", "{", "is not JSON"),
        ("e.toml", 'key = "e"', "missing required field `arms`"),
        ("e.toml", 'key = "e"\ncontrol = "a"\ncolour = 1\narms.a = {}', "unknown field `colour`"),
        ("e.toml", 'key = "e"\ncontrol = "a"\narms.a = { weight = -1 }', r"`\$.arms\[...\].weight`"),
    ],
)
def test_a_file_that_is_no_definition_is_refused(tmp_path, name, said, reason):
    (tmp_path / name).write_text(said)
    with pytest.raises(Refused, match=rf"{name}.*{reason}"):
        read(tmp_path / name)


@pytest.mark.parametrize("text", ["", "x", "1.5", "-0.1", "nan", "0.5@never", "0.5@+soon"])
def test_what_is_no_step_is_refused(text):
    with pytest.raises(Refused):
        step(text, NOW)


def test_steps_are_now_or_later():
    assert [step(text, NOW) for text in ("0", "1@2026-11-23T10:00", "0.5@+90m")] == [
        Step(NOW, 0.0), Step(NOW, 1.0), Step(NOW + 90 * 60_000, 0.5),
    ]  # fmt: skip


def test_what_is_listed_and_told():
    found = known(definition(ramp=(Step(NOW, 0.25),)))
    (line,) = listed(found, NOW)
    assert (line["key"], line["state"], line["share"], line["arms"]) == ("e", "running", 0.25, ["a", "b"])
    assert told(found.records["e"]) == {"key": "e", "state": "running", "version": 1, "revision": 2}
    assert told(held(found, 0.1, "s", NOW, "me")) == {"share": 0.1, "seed": "s", "revision": 1}


def test_who_knows_the_row_of_a_user():
    arms = {"a": Arm(), "b": Arm(set={"seen": "keep"})}
    more = Definition(
        key="new", arms=arms, control="a", where=Where(max_events=2, context={"country": ("de",)})
    )
    draft = known(definition("later", arms={"a": Arm(), "b": Arm(set={"ttl_s": 1.0})}), start=False)
    found = Known({**known(definition(), more).records, **draft.records})

    def whys(user, **context):
        return {
            one["experiment"]: one["why"] for one in who(found, CONFIG, "anna", user, NOW, "home", context)
        }

    drawn = {"e": "drawn by the hash", "later": "draft"}
    assert whys(None, country="de") == drawn | {"new": "drawn by the hash"}
    assert whys(None) == whys(User(totals={"click": 3}), country="de") == drawn | {"new": "not targeted"}
    assert whys(User(totals={"click": 2}), country="de") == drawn | {"new": "drawn by the hash"}
