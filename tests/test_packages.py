"""The package names are generic (docs/adr/0001), so prove that they are ours and not a dependency's."""

import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]


def test_every_package_is_listed_and_checked():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}

    assert found == set(PACKAGES)
    assert set(PACKAGES) == set(config["mypy"]["packages"]) == set(config["importlinter"]["root_packages"])


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_lies_in_this_repository(name):
    assert Path(importlib.import_module(name).__file__).is_relative_to(ROOT)
