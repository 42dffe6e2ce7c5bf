"""The command explains itself, and an error that was foreseen is one line and exit code 1."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from ops.processes import free_port
from streams.settings import Settings

ROOT = Path(__file__).parents[2]


def refold(*arguments, **env):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("REFOLD_")}
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        cwd=ROOT,
        env={**clean, "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_names_every_command():
    done = refold("--help")
    assert done.returncode == 0
    commands = "settings worker api up demo load topics kafka dead-letters keys bench"
    assert all(f" {command} " in done.stdout for command in commands.split())


def test_settings_are_listed_without_the_password():
    done = refold("settings", REFOLD_KAFKA_PASSWORD="hunter2", REFOLD_PARTITIONS="5")
    assert done.returncode == 0
    assert "hunter2" not in done.stdout
    assert "REFOLD_PARTITIONS" in done.stdout
    assert all(f"REFOLD_{field.name.upper()}" in done.stdout for field in fields(Settings))


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (["settings"], {"REFOLD_PORTS": "1"}, "refold: unknown setting REFOLD_PORTS"),
        (["settings"], {"REFOLD_KAFKA_SECURITY": "[/red]"}, "REFOLD_KAFKA_SECURITY='[/red]' is not"),
        (["topics", "check"], {"REFOLD_KAFKA": f"127.0.0.1:{free_port()}"}, "refold: no Kafka listens at"),
        (["worker"], {"REFOLD_KAFKA": f"127.0.0.1:{free_port()}"}, "refold: no Kafka listens at"),
        (
            ["load", "pyproject.toml", "--user", "u", "--item", "i", "--at", "t"],
            {},
            "refold: pyproject.toml: only .csv and .parquet files can be read",
        ),
        (["replay", "--until", "tea", "--into", "then"], {}, "refold: 'tea' is no time: give ISO 8601"),
        (
            ["what-if", "--config", "pyproject.toml", "--from", "1h"],
            {},
            "refold: build-system={'requires': ['hatchling>=1.27'], 'build-backend': 'hatchling.build'}: unknown",
        ),
        (["dump", "users", "--from", "docs"], {}, "refold: docs holds no users[0]: name a folder that"),
    ],
)
def test_a_foreseen_error_is_one_line_and_exit_code_1(arguments, env, said):
    done = refold(*arguments, **env)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_key_is_made_and_only_its_hash_is_to_be_kept():
    done = refold("keys", "new", "app")
    secret = done.stdout.splitlines()[0].split()[-1]
    entry = done.stdout.splitlines()[1].split()[-1]
    assert entry.startswith("app:read:")
    assert secret not in entry


def test_bench_report_compares_figures_with_targets():
    from bench.report import AT_LEAST, AT_MOST, report

    targets = {"rate": (AT_LEAST, 10.0), "ms": (AT_MOST, 5.0)}
    assert report("x", "kafka", {"rate": 10.0, "ms": 5.0, "more": 1.0}, targets)["met"]
    assert not report("x", "kafka", {"rate": 9.9, "ms": 5.0}, targets)["met"]
    assert not report("x", "kafka", {"rate": 10.0, "ms": 5.1}, targets)["met"]
    assert not report("x", "kafka", {"rate": 10.0}, targets)["met"]  # a figure that is missing is missed


def test_bench_report_is_one_line_for_a_program_and_a_table_for_people(capsys):
    from bench.report import AT_LEAST, report, show

    result = report("x", "kafka", {"rate": 10.0}, {"rate": (AT_LEAST, 20.0)})
    show(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result
    show(result, as_json=False)
    said = capsys.readouterr().out
    assert "at least 20" in said
    assert said.endswith("MISSED\n")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            ("--kind", "vectors"),
            "--engine spark trains a boosted ranker or item vectors on a file or an export",
        ),
        (("FILE",), "events.csv has no event to learn from"),
        (("FILE", "--kind", "sequence"), "another --kind than sequence"),
    ],
)
def test_spark_is_refused_where_it_has_nothing_to_read_or_to_learn(said, reason, tmp_path):
    file = tmp_path / "events.csv"
    file.write_text("user,item,at\n")
    done = refold("train", *(str(file) if one == "FILE" else one for one in said), "--engine", "spark")
    assert done.returncode == 1
    assert reason in done.stderr
