"""What can be known of the image and its composition without an engine: names, versions, settings, keys."""

import re
import tomllib
from pathlib import Path

import pytest

from ops.broker import kafka
from streams.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker/compose.yaml").read_text()
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]


def services():
    """The text of each service under its name."""
    body = re.search(r"^services:\n(.*?)^volumes:", COMPOSE, re.MULTILINE | re.DOTALL)[1]
    parts = re.split(r"^  ([\w-]+):\n", body, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_services_are_there():
    assert list(services()) == ["kafka", "topics", "worker-0", "worker-1", "api-0", "api-1"]


def test_every_setting_is_known_and_has_a_possible_value():
    values = dict(re.findall(r"(REFOLD_\w+): \"?([^\"\s}]*)", COMPOSE))
    values |= {"REFOLD_NAMESPACE": "", "REFOLD_PARTITIONS": "8", "REFOLD_API_KEYS": "app:read:" + "0" * 64}
    values |= dict(re.findall(r"(REFOLD_\w+)=(\S+)", DOCKERFILE))
    settings = Settings.from_env(values)
    assert settings.kafka == "kafka:19092"
    assert settings.data == Path("/data")
    mentioned = set(re.findall(r"REFOLD_[A-Z_]+", COMPOSE + DOCKERFILE))
    assert mentioned == set(values)


@pytest.mark.parametrize("name", ["worker-0", "worker-1", "api-0", "api-1"])
def test_names_are_stable(name):
    variable = "REFOLD_WORKER" if name.startswith("worker") else "REFOLD_API_NAME"
    assert f"hostname: {name}\n" in services()[name]
    assert f"{variable}: {name} " in services()[name]


def test_the_api_is_not_composed_without_keys():
    assert "REFOLD_HOST: 0.0.0.0" in COMPOSE
    assert re.search(r"REFOLD_API_KEYS: \$\{REFOLD_API_KEYS:\?[^}]+\}", COMPOSE)


def test_kafka_is_the_version_that_is_tested_and_not_reachable_from_outside():
    assert f"image: apache/kafka:{kafka.VERSION}\n" in services()["kafka"]
    ports = re.search(r"ports: \[(.*)\]", services()["kafka"])[1]
    assert ports == '"127.0.0.1:9092:9092"'


def test_what_must_survive_lies_in_volumes():
    assert '"kafka:/var/lib/kafka/data"' in services()["kafka"]
    assert "KAFKA_LOG_DIRS: /var/lib/kafka/data\n" in services()["kafka"]
    assert '"state:/data"' in COMPOSE


def test_the_image_holds_every_package_and_no_unlocked_dependency():
    assert re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE) == PACKAGES
    assert all(
        f"!{package}\n" in (ROOT / "docker/Dockerfile.dockerignore").read_text() for package in PACKAGES
    )
    assert "--require-hashes" in DOCKERFILE
    assert len(re.findall(r"pip install", DOCKERFILE)) == 1


def test_the_image_does_not_run_as_root():
    assert "\nUSER refold\n" in DOCKERFILE
    assert DOCKERFILE.index("\nUSER refold\n") < DOCKERFILE.index("\nENTRYPOINT")
