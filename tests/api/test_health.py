import pytest

from api.app import create_app
from streams.errors import StateError
from streams.settings import Settings


def test_live(api):
    assert api.client.get("/health/live").json() == {"live": True}


def test_ready_follows_the_replica_not_kafka(api):
    said = api.client.get("/health/ready")
    assert (said.status_code, said.json()["ready"], said.json()["kafka"]) == (200, True, True)
    api.producer.down = True
    said = api.client.get("/health/ready")
    assert (said.status_code, said.json()["kafka"]) == (200, False)


def test_not_ready_says_what_is_missing_and_lists_are_served_all_the_same(api, value_of, monkeypatch):
    api.fake.ready = False
    monkeypatch.setattr(api.fake, "lag", lambda: 1234)
    reply = api.client.get("/health/ready")
    assert reply.status_code == 503
    assert "1234 records" in reply.json()["detail"]
    assert (reply.json()["ready"], reply.json()["lag"]) == (False, 1234)
    assert api.client.get("/v1/recommend/anna").status_code == 200
    assert api.client.get("/health/live").status_code == 200
    assert value_of(api, "refold_ready") == 0.0
    assert value_of(api, "refold_replica_lag_records") == 1234.0


def test_without_kafka_it_starts_says_so_and_answers(tmp_path, test_client):
    settings = Settings(kafka="127.0.0.1:1", data=tmp_path, dimensions=16)
    with test_client(create_app(settings)) as client:
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["kafka"]) == (503, False)
        assert ready.json()["missing"] == [ready.json()["trouble"]]
        assert client.get("/health/live").status_code == 200
        assert client.get("/v1/users/u").status_code == 404
        answer = client.get("/v1/recommend/u").json()
        assert (answer["items"], answer["rung"]) == ([], "empty")
        assert client.post("/v1/events", json={"type": "click", "user_id": "u"}).status_code == 503


def test_a_folder_in_use_ends_the_start(tmp_path, test_client):
    settings = Settings(kafka="127.0.0.1:1", data=tmp_path, dimensions=16)
    with test_client(create_app(settings)), pytest.raises(StateError), test_client(create_app(settings)):
        raise AssertionError("two processes on one folder")


def test_figures(api, value_of):
    api.client.post("/v1/events", json={"type": "click", "user_id": "u"})
    api.client.post("/v1/events", json={"type": "click"})
    assert value_of(api, 'refold_ingested_total{what="event"}') == 1.0
    assert value_of(api, 'refold_refused_total{reason="missing",what="event"}') == 1.0
    assert value_of(api, 'refold_requests_total{route="POST /v1/events",status="422"}') == 1.0
    assert value_of(api, "refold_kafka_connected") == 1.0
    api.client.get("/nowhere")
    assert value_of(api, 'refold_requests_total{route="none",status="404"}') == 1.0
    api.client.post("/v1/events", content=b"{", headers={"content-type": "application/json"})
    assert value_of(api, 'refold_refused_total{reason="syntax",what="request"}') == 1.0


def test_two_apps_in_one_process_do_not_mix(make_api, value_of):
    one, other = make_api(), make_api()
    one.client.get("/v1/popular")
    name = 'refold_requests_total{route="GET /v1/popular",status="200"}'
    assert (value_of(one, name), value_of(other, name)) == (1.0, 0.0)
