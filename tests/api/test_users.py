from models.marks import source
from models.users import User
from streams.partition import partition_of
from streams.profiles import decode
from streams.touches import origin_of


def test_put_and_erase(api, caplog):
    reply = api.client.put("/v1/users/anna", json={"attributes": {"country": "de", "age": 30}})
    place = {"user_id": "anna", "partition": partition_of("anna", 4), "offset": 0}
    assert (reply.status_code, reply.json()) == (202, place)
    caplog.set_level("INFO")
    assert api.client.delete("/v1/users/anna").json() == {**place, "offset": 1}
    (key, value), tombstone = api.producer.records("profiles")
    assert (key, decode(value).attributes) == (b"anna", {"country": "de", "age": 30})
    assert tombstone == (b"anna", None)
    said = [record.getMessage() for record in caplog.records if record.name == "refold.api"]
    assert said == [f"key open erased a user: profiles[{place['partition']}]@1"]


def test_a_bad_profile_is_refused(api):
    for bad in (
        {"name": "x"},
        {"attributes": {"Name": 1}},
        {"attributes": {"a": [1]}},
        {"attributes": None},
        7,
    ):
        assert api.client.put("/v1/users/u", json=bad).status_code == 422
    assert not api.producer.log


def test_get_shows_the_user_decayed_to_now(api):
    said = api.client.get("/v1/users/anna").json()
    assert [acted["item_id"] for acted in said["history"]] == ["item-2", "item-1", "item-0"]
    assert said["trail"] == ["item-2", "item-1", "item-0"]
    assert said["totals"] == {"click": 3}
    assert 2.99 < said["counts"]["click"] <= 3.0
    assert set(said["affinity"]) == {"kind-0", "kind-1", "kind-2"}
    assert (said["session"]["events"], said["session"]["active"]) == (3, True)
    assert said["at"] == api.now


def test_the_offsets_it_reflects(api):
    user = User(first_at=1, last_at=1)
    user.marks = {source(0, 0, 3): origin_of(1042, 7), source(1, 0, 3): 5}
    api.fake.users["marked"] = user
    assert api.client.get("/v1/users/marked").json()["offsets"] == [
        {"topic": "events", "partition": 3, "offset": 1042},
        {"topic": "profiles", "partition": 3, "offset": 5},
    ]


def test_the_unknown_and_the_erased_are_404(api):
    assert api.client.get("/v1/users/nobody").status_code == 404
    api.fake.users["gone"] = User(marks={source(0, 0, 1): 512}, ids=bytearray(8))
    assert api.client.get("/v1/users/gone").status_code == 404
