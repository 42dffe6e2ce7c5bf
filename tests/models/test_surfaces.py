"""Configuration: defaults that hold, and errors that name what to mend."""

import pytest

from models.surfaces import load, parse, surface_with
from streams.errors import SettingsError


def test_the_packaged_configuration_is_whole():
    config = load()
    assert {"home", "item", "cart", "search", "email"} == set(config.surfaces)
    assert config.actions["purchase"] > config.actions["click"] > 0 > config.actions["dislike"]
    home = config.surfaces["home"]
    assert home.candidates == 1000
    assert home.max_per_category == 3
    assert home.seen == "exclude"


def test_every_packaged_surface_has_a_budget_a_tier_and_rules_of_its_own():
    found = load().surfaces
    assert all(found[name].budget_ms < found["email"].budget_ms for name in found if name != "email")
    assert {name for name, one in found.items() if one.tier == "full"} == {"email"}
    assert {name for name, one in found.items() if one.trust} == {"search"}
    rules = {
        name: (one.seen, one.max_per_category, one.diversity, one.quotas, one.explore)
        for name, one in found.items()
    }
    assert len(set(map(repr, rules.values()))) == len(found)
    assert not any(one.ahead.share for one in found.values())


def test_a_file_says_only_what_differs(tmp_path):
    path = tmp_path / "surfaces.toml"
    path.write_text(
        "[surfaces.home]\nttl_s = 1.5\nquotas = { ann = 7 }\n[surfaces.app]\n[actions]\nwink = 0.5\n"
    )
    config = load(path)
    assert config.surfaces["home"].ttl_s == 1.5
    assert config.surfaces["home"].quotas.ann == 7
    assert config.surfaces["home"].quotas.related == load().surfaces["home"].quotas.related
    assert config.surfaces["home"].actions == load().surfaces["home"].actions
    assert config.actions["wink"] == 0.5
    assert config.actions["click"] == 1.0
    assert "app" in config.surfaces


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("[surfaces.home]\ncandidates = 'many'", ("surfaces.home.candidates", "'many'")),
        ("[surfaces.home]\ncolour = 1", ("surfaces.home", "colour")),
        ("[surfaces.home.quotas]\nann = -1", ("surfaces.home.quotas.ann", "-1")),
        ("[surfaces.home.quotas]\noracle = 5", ("surfaces.home.quotas", "oracle")),
        ("[surfaces.home]\ntier = 'huge'", ("surfaces.home.tier", "huge")),
        ("[surfaces.home]\nseen = 'maybe'", ("surfaces.home.seen", "maybe")),
        ("[surfaces.home.explore]\nepsilon = 1.5", ("surfaces.home.explore.epsilon", "1.5")),
        ("[surfaces.home]\ntrust = 1.5", ("surfaces.home.trust", "1.5")),
        ("[surfaces.home.ahead]\nshare = 2.0", ("surfaces.home.ahead.share", "2.0")),
        ("[surfaces.home.ahead]\nttl_s = 0.0", ("surfaces.home.ahead.ttl_s", "0.0")),
        ("[surfaces.home.pins]\nx = 0", ("surfaces.home.pins.x", "0")),
        ("[surfaces.home.boosts]\nx = -1.0", ("surfaces.home.boosts.x", "-1")),
        ("[surfaces.home.boosts]\nx = nan", ("surfaces.home.boosts.x", "nan")),
        ("[actions]\nclick = inf", ("actions.click", "inf")),
        ("[actions]\nclick = 'a'", ("actions", "'a'")),
        ("surfaces = 3", ("surfaces", "3")),
        ("[nonsense]", ("nonsense",)),
        ("[experiments.e.arms.a]", ("experiments", "a configuration has actions and surfaces")),
        ("[surfaces.home.actions]\nwave = 2.0", ("surfaces.home.actions.wave", "2")),
        ("[surfaces.home.actions]\nimpression = 1.0", ("surfaces.home.actions.impression", "1")),
    ],
)
def test_a_bad_value_is_named(tmp_path, said, names):
    path = tmp_path / "bad.toml"
    path.write_text(said)
    with pytest.raises(SettingsError) as error:
        load(path)
    for name in names:
        assert name in str(error.value)


def test_files_that_cannot_be_read_are_settings_errors(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("[[")
    with pytest.raises(SettingsError, match="not TOML"):
        load(tmp_path / "broken.toml")


def test_overrides_change_what_they_name_and_no_more():
    home = load().surfaces["home"]
    other = surface_with(home, {"explore": {"slots": 2}, "diversity": 0.5})
    assert other.explore.slots == 2
    assert other.explore.epsilon == home.explore.epsilon
    assert other.quotas == home.quotas
    assert surface_with(home, {}) is home
    assert parse({"surfaces": {"x": {}}}).surfaces["x"].candidates == 1000
