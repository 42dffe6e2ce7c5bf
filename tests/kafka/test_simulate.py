"""A few simulated users on a real system: lists are served, everything is said, and nothing is left behind."""

import pytest

from ops.broker.topics import admin
from ops.progress import silent
from ops.simulate.run import simulate
from streams.settings import Settings

pytestmark = pytest.mark.kafka


def test_simulated_users_live_with_a_real_system_and_leave_nothing_behind(kafka):
    given = Settings(kafka=kafka, partitions=2, dimensions=16)
    said = simulate(given, "loop", embedded=False, people=60, things=60, steps=5, seed=1, begin=silent)

    assert said["lists"] >= 30
    assert said["events"] > said["lists"]
    assert said["first"]["random"] < said["first"]["oracle"]
    with admin(given) as client:
        assert not [name for name in client.list_topics() if name.startswith("simulate-")]
