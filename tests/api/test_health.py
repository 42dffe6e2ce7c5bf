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


def test_figures(api, value_of):
    api.client.post("/v1/events", json={"type": "click", "user_id": "u"})
    api.client.post("/v1/events", json={"type": "click"})
    assert value_of(api, 'refold_ingested_total{what="event"}') == 1.0
    assert value_of(api, 'refold_refused_total{reason="missing",what="event"}') == 1.0
    assert value_of(api, 'refold_requests_total{route="POST /v1/events",status="422"}') == 1.0
    assert value_of(api, "refold_kafka_connected") == 1.0


def test_two_apps_in_one_process_do_not_mix(make_api, value_of):
    one, other = make_api(), make_api()
    one.client.get("/v1/popular")
    name = 'refold_requests_total{route="GET /v1/popular",status="200"}'
    assert (value_of(one, name), value_of(other, name)) == (1.0, 0.0)
