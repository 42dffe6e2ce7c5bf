import asyncio

import numpy as np
import pytest

from models.outcomes import Outcomes
from streams.experiments import Arm, Definition, Metric, Record
from tests.models.sheets import drawn

KEY = "/v1/experiments/try/report"


@pytest.fixture
def tried(api):
    """An API that knows a running experiment."""
    metrics = {"ctr": Metric("click", "lists", primary=True), "sales": Metric("purchase.value")}
    one = Definition(key="try", version=1, arms={"a": Arm(), "b": Arm()}, control="a", metrics=metrics)
    asyncio.run(api.app.state.services.experiments.write(Record(key="try", state="running", versions=(one,))))
    return api


def test_an_experiment_is_judged_by_what_its_users_did(tried):
    draw = np.random.default_rng(1)
    tried.fake.experiments["try"] = Outcomes(
        sheets={(1, "a"): drawn(draw, 2_000), (1, "b"): drawn(draw, 2_000, 0.3)}
    )
    said = tried.client.get(KEY).json()

    assert said["verdict"] == "better"
    assert said["units"] == {"a": 2_000, "b": 2_000}
    assert said["at"] == tried.now
    rate, sales = said["comparisons"]
    assert rate["lift_interval"][0] > 0.2
    assert sales["p"] is None
    assert "'purchase.value' is not measured" in sales["reason"]


def test_before_anyone_was_exposed_that_is_said(tried):
    answer = tried.client.get(KEY)

    assert answer.status_code == 200
    assert answer.json()["verdict"] == "empty"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_users_do_after_the_end_changes_no_report(tried, end):
    draw = np.random.default_rng(1)

    def came_to(rate):
        tried.fake.experiments["try"] = Outcomes(
            sheets={(1, "a"): drawn(draw, 2_000), (1, "b"): drawn(draw, 2_000, rate)}
        )

    came_to(0.3)
    before = tried.client.get(KEY).json()
    assert tried.client.post(f"/v1/experiments/try/{end}").status_code == 200
    came_to(0.1)
    after = tried.client.get(KEY).json()

    assert after["comparisons"] == before["comparisons"]
    assert (after["verdict"], after["units"]) == ("better", before["units"])
    assert after["notes"] == ["as it stood when it ended: what users did later does not count"]


def test_an_unknown_experiment_is_not_found(tried):
    answer = tried.client.get("/v1/experiments/none/report")

    assert answer.status_code == 404
    assert "there are: try" in answer.json()["detail"]


def test_a_report_is_for_operators(make_api):
    from api.keys import mint

    secret, entry = mint("shop", "read")
    api = make_api(api_keys=entry)

    assert api.client.get(KEY, headers={"x-api-key": secret}).status_code == 403
