import pytest

from streams.items import decode
from streams.partition import partition_of


def test_put_and_delete(api):
    reply = api.client.put(
        "/v1/items/item-x", json={"title": "X", "categories": ["c"], "attributes": {"price": 2.5}}
    )
    place = {"item_id": "item-x", "partition": partition_of("item-x", 4), "offset": 0}
    assert (reply.status_code, reply.json()) == (202, place)
    assert api.client.delete("/v1/items/item-x").json() == {**place, "offset": 1}
    (key, value), tombstone = api.producer.records("items")
    assert (key, decode(value).attributes) == (b"item-x", {"price": 2.5})
    assert tombstone == (b"item-x", None)


@pytest.mark.parametrize("item_id", ["a/b", "ümlaut", "a b", "a%2Fb", "?", "%", "x" * 256])
def test_any_id_can_stand_in_the_path(api, item_id):
    from urllib.parse import quote

    reply = api.client.put(f"/v1/items/{quote(item_id, safe='')}", json={})
    assert (reply.status_code, reply.json()["item_id"]) == (202, item_id)
    assert api.producer.records("items") == [(item_id.encode(), decode_encode())]


def test_an_item_may_carry_a_vector(api):
    assert api.client.put("/v1/items/i", json={"vector": [1, 0.5]}).status_code == 202
    assert api.client.post("/v1/items", json=[{"item_id": "j", "vector": [2.0]}]).status_code == 202
    assert [decode(value).vector for _, value in api.producer.records("items")] == [(1.0, 0.5), (2.0,)]


def decode_encode():
    from streams.items import Item, encode

    return encode(Item())


def test_an_impossible_id_is_refused(api):
    for path in ("x" * 257, "%C3%BC" * 200, "%FF"):
        assert api.client.put(f"/v1/items/{path}", json={}).status_code == 422
        assert api.client.get(f"/v1/items/{path}").status_code == 422


@pytest.mark.parametrize(
    "bad",
    [
        {"titel": "X"},
        {"boost": -1},
        {"boost": 1e400},
        {"categories": ["c"] * 9},
        {"tags": ["t"] * 33},
        {"attributes": {"A": 1}},
        {"vector": [1.0, "a"]},
        {"vector": [1e400]},
        {"vector": [0.5] * 2049},
        {"published_at": 5},
        {"available": "yes"},
        [],
        None,
    ],
)
def test_a_bad_item_is_refused(api, bad):
    body = str(bad).replace("'", '"').replace("inf", "1e400").replace("None", "null")
    reply = api.client.put("/v1/items/i", content=body, headers={"content-type": "application/json"})
    assert reply.status_code in (400, 422)
    assert not api.producer.log


def test_bulk_refuses_in_part(api):
    items = [{"item_id": f"i{n}", "title": str(n)} for n in range(500)]
    items[7] = {"title": "no id"}
    items[8] = {"item_id": "i8", "colour": "red"}
    reply = api.client.post("/v1/items", json=items)
    said = reply.json()
    assert (reply.status_code, said["accepted"]) == (202, 498)
    assert [one["index"] for one in said["refused"]] == [7, 8]
    assert len(api.producer.records("items")) == 498
    assert said["offsets"] == {
        str(partition): len(records) - 1 for (_, partition), records in api.producer.log.items()
    }
    assert api.client.post("/v1/items", json={"item_id": "alone"}).status_code == 422


def test_get_shows_the_item_as_it_stands(api):
    said = api.client.get("/v1/items/item-0").json()
    assert (said["listed"], said["catalogue"]["title"], said["chosen"]) == (True, "Title 0", 1)
    assert said["totals"] == {"click": 1}
    assert said["windows"]["hour"]["choices"] == 1.0
    assert said["surfaces"] == {"home": {"impressions": 0, "choices": 1}}
    assert said["trend"] > 0
    assert 0 < said["ctr"] < 1
    assert said["related"][0]["weight"] == 1.0
    assert {"topic", "partition", "offset"} == set(
        (said["offsets"] or [{"topic": 0, "partition": 0, "offset": 0}])[0]
    )
    assert api.client.get("/v1/items/nothing").status_code == 404
