"""The matrix: each feature is what its name says, and no candidate's row leans on another's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from api.answers import Request
from api.asker import asker_of, popular_here
from api.fake import Fake
from models.features import CATALOGUE, COLUMN, LEARNED, NAMES, Asker
from models.gather import FADING, gather, seen, shares
from models.lately import lately
from models.places import Places
from models.signals import SIGNALS
from streams.events import Event
from streams.items import Item

NOW = 1_750_000_000_000
HOUR = 3_600_000


def world():
    items = {f"i{n}": Item(categories=(f"c{n % 4}",), published_at=NOW - n * 24 * HOUR) for n in range(60)}
    items["i7"] = Item(categories=("c3",), boost=2.0)
    events = [
        Event(event_id=f"{u}-{k}", type="click", at=NOW - (20 - k) * HOUR, user_id=f"u{u}",
              item_id=f"i{(u * 3 + k * k) % 50}", categories=(f"c{(u * 3 + k * k) % 50 % 4}",))
        for k in range(20) for u in range(12)
    ]  # fmt: skip
    return Fake.of(events, items, NOW, dimensions=16)


FAKE = world()


def asker(user_id="u1", places=None):
    request = Request(at=NOW, user_id=user_id)
    return asker_of(
        FAKE.state, FAKE.user(user_id), request, popular_here(FAKE.state, request), places or Places()
    )


def matrix(slots, who=None):
    places = Places()
    who = who or asker(places=places)
    places.take(np.array(slots, dtype=np.int64))
    signals = FAKE.lore.signals(who.after, places.slots)
    return gather(who, FAKE.columns, places, signals, FAKE.lore.relevance(signals, who.after))


def test_the_catalogue_is_data():
    assert len(NAMES) == len(set(NAMES)) >= 16
    assert {feature.freshness for feature in CATALOGUE} <= {"batch", "near-real-time", "request-time"}
    assert all(feature.help and feature.ttl >= 0 for feature in CATALOGUE)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 59), min_size=1, max_size=60, unique=True))
def test_a_row_does_not_depend_on_the_other_rows(slots):
    together = matrix(slots)
    assert together.shape == (len(slots), len(NAMES))
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    for n, slot in enumerate(slots[:5]):
        np.testing.assert_array_equal(matrix([slot])[0], together[n])


def test_features_are_what_their_names_say():
    who, columns, user = asker(), FAKE.columns, FAKE.user("u1")
    slots = list(range(60))
    features = {name: matrix(slots)[:, n] for name, n in COLUMN.items()}
    last = columns.slot_of[user.trail[0]]
    times = sum(item == user.trail[0] for item, *_ in user.history)
    np.testing.assert_allclose(features["repeats"][last], np.log1p(times))
    assert features["repeated"].max() == features["repeated"][last]
    assert features["seen"].sum() == len({item for item, *_ in user.history})
    np.testing.assert_allclose(features["popular_all"], np.log1p(columns.chosen[:60]))
    hour, *_, trend = lately(columns, slice(60), NOW)
    np.testing.assert_allclose(features["popular_hour"], np.log1p(hour))
    np.testing.assert_array_equal(features["trend"], trend)
    assert features["in_context"].max() == 1.0
    old, boosted = columns.slot_of["i14"], columns.slot_of["i7"]
    np.testing.assert_allclose(features["freshness"][old], 0.25)
    age = NOW - columns.first_at[boosted]  # never published, so known since it was first chosen
    np.testing.assert_allclose(features["freshness"][boosted], 0.5 ** (age / (168 * HOUR)), rtol=1e-5)
    np.testing.assert_allclose(features["boost"][boosted], np.log(2.0), rtol=1e-6)
    near = set(np.flatnonzero(features["alike"])) | set(np.flatnonzero(features["follows"]))
    assert near == set(FAKE.lore.related(who.after, 60)[0].tolist()) & set(slots)
    np.testing.assert_array_equal(matrix(slots)[:, LEARNED], FAKE.lore.signals(who.after, np.arange(60)))
    assert NAMES[LEARNED] == SIGNALS
    assert (features["ctr"] == 0).all()
    assert np.unique(features["experience"]).tolist() == [np.float32(np.log1p(20))]
    same = features["affinity"][columns.categories[:60, 0] == columns.categories[last, 0]]
    assert (same == same[0]).all()
    assert same[0] > 0


def test_what_is_known_of_others_moves_no_share():
    """Neither a category that no item has, nor a choice whose item is not known yet, changes the shares of the rest."""
    before, user = asker(), FAKE.user("u1")
    liked, trail = dict(user.affinity), list(user.trail)
    of = dict(zip(before.affinity[0].tolist(), before.affinity[1].tolist(), strict=True))
    try:
        user.affinity["nobody's"] = sum(user.affinity.values())  # as much as all others together
        after = asker()
        halved = dict(zip(after.affinity[0].tolist(), after.affinity[1].tolist(), strict=True))
        assert halved == {code: np.float32(share / 2) for code, share in of.items()}
        user.trail[:0] = ["not here yet"]
        codes = [FAKE.columns.categories[FAKE.columns.slot_of[item], 0] for item in user.trail[1:5]]
        weights = {int(code): 0.0 for code in codes}
        for k, code in enumerate(codes, 1):
            weights[int(code)] += FADING**k
        found = dict(zip(*(part.tolist() for part in asker().session), strict=True))
        assert found == {code: np.float32(one / sum(weights.values())) for code, one in weights.items()}
    finally:
        user.affinity.clear()
        user.affinity.update(liked)
        user.trail[:] = trail


def test_a_stranger_has_no_personal_features():
    features = matrix(range(60), Asker(float(NOW)))
    for name in ("alike", "follows", "next", "affinity", "session", "repeats", "repeated", "seen"):
        assert not features[:, COLUMN[name]].any()


def test_seen_is_what_was_acted_on():
    acted = {FAKE.columns.slot_of[item] for item, *_ in FAKE.user("u1").history}
    assert set(np.flatnonzero(seen(asker(), FAKE.columns, np.arange(60)))) == acted


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(-5, 5)), max_size=20))
def test_shares_sum_to_one_in_size(pairs):
    codes, values = shares(pairs)
    assert len(codes) == len(set(codes.tolist())) == len(values)
    if len(codes):
        np.testing.assert_allclose(np.abs(values).sum(), 1.0, rtol=1e-4)
