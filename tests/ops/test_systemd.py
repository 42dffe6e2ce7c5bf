"""The units of systemd: known to it, complete, and about commands and settings that exist."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from ops.cli import app
from streams.settings import Settings

UNITS = sorted((Path(__file__).parents[2] / "docker/systemd").glob("*.service"))
each = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def read(unit):
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str
    parsed.read(unit)
    return parsed


def test_worker_and_api_have_one():
    assert [unit.name for unit in UNITS] == ["refold-api@.service", "refold-worker@.service"]


@each
def test_it_starts_again_whatever_ended_it_and_never_gives_up(unit):
    parsed = read(unit)
    assert parsed["Service"]["Restart"] == "always"
    assert int(parsed["Service"]["RestartSec"]) <= 1
    assert parsed["Unit"]["StartLimitIntervalSec"] == "0"


@each
def test_it_runs_a_command_under_settings_that_exist(unit):
    service = read(unit)["Service"]
    command = service["ExecStart"].partition(" ")[2]
    assert command in typer.main.get_command(app).commands
    given = dict(re.findall(r"(REFOLD_\w+)=(\S+)", service["Environment"].replace("%i", "one")))
    settings = Settings.from_env(given)
    assert settings.data == Path("/var/lib", service["StateDirectory"])
    assert (settings.worker if command == "worker" else settings.api_name) == "one"


@each
def test_it_may_write_its_state_alone(unit):
    service = read(unit)["Service"]
    assert (service["ProtectSystem"], service["NoNewPrivileges"]) == ("strict", "yes")
    assert "ReadWritePaths" not in service
    assert service["User"] != "root"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@each
def test_systemd_knows_all_of_it(unit, tmp_path):
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace("/opt/refold/.venv/bin/refold", "/bin/true"))
    said = subprocess.run(
        ["systemd-analyze", "verify", installed], check=False, capture_output=True, text=True
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
