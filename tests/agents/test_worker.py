"""A worker's process: what it logs while its broker is away."""

import subprocess
import sys

CODE = """
import logging

from agents.app import create_app
from agents.worker import Worker
from streams.settings import Settings

Worker(create_app(Settings(), "users", {}), loglevel="INFO")._setup_logging()
for n in range(100):
    logging.getLogger("aiokafka.conn").error("away")
    logging.getLogger("agents.recovery").error("ours")
"""


def test_a_lost_broker_does_not_fill_the_log():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    said = done.stdout + done.stderr

    assert said.count("away") == 1
    assert said.count("ours") == 100
