"""What anybody may say to Refold, as Hypothesis strategies: every value drawn here keeps the contract."""

from hypothesis import strategies as st

from streams.checks import OLDEST
from streams.events import MAX_CATEGORIES, Event
from streams.items import Item
from streams.profiles import Profile

LATEST = 4_102_444_800_000  # 2100-01-01, ms
NOW = LATEST  # a time at which every event that may exist has happened

ids = st.text(min_size=1, max_size=64).filter(lambda text: len(text.encode()) <= 256)
names = st.from_regex(r"\A[a-z][a-z0-9_.-]{0,15}\Z")
times = st.integers(OLDEST, LATEST)
finite = st.floats(allow_nan=False, allow_infinity=False)
kinds = st.one_of(
    st.sampled_from(
        ["impression", "view", "click", "dwell", "like", "rating", "purchase", "skip", "hide", "search"]
    ),
    names.filter(lambda name: name != "erase"),
)
attributes = st.dictionaries(names, st.one_of(st.text(max_size=64), finite, st.booleans()), max_size=4)

events = st.builds(
    Event,
    event_id=ids,
    type=kinds,
    at=times,
    user_id=ids,
    session_id=st.none() | ids,
    item_id=st.none() | ids,
    value=st.none() | st.floats(-1e12, 1e12, exclude_min=True, exclude_max=True),
    request_id=st.none() | ids,
    surface=st.none() | names,
    position=st.none() | st.integers(0, 9_999),
    categories=st.lists(ids, max_size=MAX_CATEGORIES).map(tuple),
    context=st.dictionaries(names, st.text(max_size=32), max_size=3),
)

# Few users, items and ids, so that everything meets: repeats, duplicates, one item after the other.
crowded = st.builds(
    Event,
    event_id=st.integers(0, 40).map(lambda n: f"e{n}"),
    type=st.sampled_from(["impression", "view", "click", "purchase", "rating", "hide", "search", "wink"]),
    at=st.integers(1_700_000_000_000, 1_700_900_000_000),
    user_id=st.integers(0, 4).map(lambda n: f"u{n}"),
    item_id=st.none() | st.integers(0, 7).map(lambda n: f"i{n}"),
    value=st.none() | st.floats(0, 5),
    surface=st.none() | st.sampled_from(["home", "cart"]),
    position=st.none() | st.integers(0, 9),
    categories=st.lists(st.sampled_from("abcdef"), max_size=3, unique=True).map(tuple),
    context=st.just({}) | st.sampled_from(["de", "fr"]).map(lambda country: {"country": country}),
)

items = st.builds(
    Item,
    title=st.text(max_size=64),
    categories=st.lists(ids, max_size=8).map(tuple),
    tags=st.lists(ids, max_size=4).map(tuple),
    published_at=st.none() | times,
    expires_at=st.none() | times,
    available=st.booleans(),
    boost=st.floats(0, 100),
    attributes=attributes,
    vector=st.lists(st.floats(-9, 9), max_size=4).map(tuple),
)

profiles = st.builds(Profile, attributes=attributes)
