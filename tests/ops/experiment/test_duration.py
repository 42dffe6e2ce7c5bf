import numpy as np
import pytest

from models.outcomes import Sheet
from models.power import size
from ops.experiment.duration import duration, metric, pilot, planned
from streams.errors import Refused
from streams.experiments import Metric
from tests.models.sheets import drawn, sheet


def test_days_are_those_in_which_so_many_new_users_come():
    found = duration(0.2, 0.16, 0.1, 1_000, 2, 0.8)

    assert found["users"] == size(0.2, 0.16, 0.1).units
    assert found["days"] == -(-found["users"] // 1_000)
    assert found["days_looking_once"] < found["days"] < duration(0.2, 0.16, 0.1, 1_000, 3, 0.8)["days"]


def test_what_is_known_before_saves_users():
    one = drawn(np.random.default_rng(1), 5_000)
    bare = Sheet(one.names[:2], one.gram[:3, :3])
    ctr = Metric("click", "lists")

    assert planned(one, ctr)[0] == planned(bare, ctr)[0]
    assert planned(one, ctr)[1] < 0.97 * planned(bare, ctr)[1]


def test_the_largest_sheet_that_holds_the_metric_is_taken():
    known = {
        "one": {(1, "a"): sheet(lists=[1] * 10, click=[1] * 10)},
        "two": {(1, "a"): sheet(lists=[1] * 30), (1, "b"): sheet(lists=[1] * 20, click=[0] * 20)},
        "none": {(1, "a"): Sheet.empty(("lists", "click"))},
    }
    key, found = pilot(known, Metric("click", "lists"))

    assert (key, found.units) == ("two", 20)
    with pytest.raises(Refused, match="no experiment has measured lists and wink"):
        pilot(known, Metric("wink", "lists"))


@pytest.mark.parametrize("said", ["", "/lists", "click/lists/days"])
def test_what_is_no_metric_is_refused(said):
    with pytest.raises(Refused, match="is no metric"):
        metric(said)


def test_nobody_coming_is_refused():
    with pytest.raises(Refused, match="users_per_day=0"):
        duration(0.2, 0.16, 0.1, 0, 2, 0.8)
