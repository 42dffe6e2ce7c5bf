import json
import logging

import pytest

from api.problems import Problem, problem_of
from streams.errors import Refused, StateError, Unavailable


def is_problem(reply, status):
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    document = reply.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:refold:problem:")
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == reply.headers["x-request-id"]
    return document


def test_each_error_is_a_problem(api):
    client = api.client
    big = b'{"type":"click","user_id":"' + b"x" * 70_000 + b'"}'
    as_json = {"content-type": "application/json"}
    is_problem(client.get("/nowhere"), 404)
    is_problem(client.get("/v1/users/"), 404)
    is_problem(client.get("/v1/popular/"), 404)
    is_problem(client.get("/v1/users/nobody"), 404)
    is_problem(client.delete("/v1/popular"), 405)
    is_problem(client.post("/v1/events", content=b"{", headers=as_json), 400)
    is_problem(client.post("/v1/events", content=big, headers=as_json), 413)
    is_problem(client.post("/v1/events", content=b"{}", headers={"content-type": "text/plain"}), 415)
    is_problem(client.post("/v1/events", content=b"{}"), 415)
    is_problem(client.post("/v1/events", json={}), 422)
    api.producer.down = True
    reply = client.post("/v1/events", json={"type": "click", "user_id": "u"})
    assert is_problem(reply, 503)["detail"].endswith("nothing was written")
    assert reply.headers["retry-after"] == "1"


def test_405_names_every_method(api):
    allowed = api.client.post("/v1/items/x").headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "PUT", "DELETE"}


def test_an_unforeseen_error_says_nothing_of_itself_and_logs_all(api, monkeypatch, caplog):
    def fail(_):
        raise ZeroDivisionError("a secret of the house")

    monkeypatch.setattr(api.app.state.services.engine, "cached", fail)
    with caplog.at_level(logging.ERROR):
        reply = api.client.get("/v1/recommend/anna")
    document = is_problem(reply, 500)
    assert "secret of the house" not in reply.text
    assert document["request_id"] in caplog.text
    assert "a secret of the house" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("no"), 422),
        (Unavailable("later"), 503),
        (Problem(413, "too-large", "big"), 413),
        (StateError("x"), 500),
        (KeyError("x"), 500),
    ],
)
def test_what_an_exception_means(error, status):
    assert problem_of(error).status == status


def test_further_members_stand_beside_the_standard_ones():
    reply = Problem(503, "in-doubt", "unknown", event_ids=["a"]).reply()
    assert json.loads(reply.body)["event_ids"] == ["a"]
