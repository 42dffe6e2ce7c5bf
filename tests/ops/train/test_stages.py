"""What is folded by user and by item, apart, gives the rows that one process folds. Spark itself: test_spark.py."""

import pytest

from models.actions import DEFAULTS
from models.surfaces import load
from ops.train.history import History, Said
from ops.train.rows import gather
from ops.train.scene import Scene
from ops.train.stages import Acted, Asked, fold_items, fold_users, follow, place_of
from streams.events import Event
from streams.items import Item
from tests.ops.train.test_rows import told

HOME = load().surfaces["home"]


class Apart:
    """A history whose users and items are each folded on their own, and put into order again."""

    span, data = {}, ""

    def __init__(self, said):
        self._said = list(enumerate(said))

    def moments(self, scene, part, advance):
        by_user = sorted(((one.event.user, n), one) for n, one in self._said if one.event is not None)
        folded = list(fold_users(DEFAULTS, part, by_user))
        listed = [((one.item, n), one.catalogue) for n, one in self._said if one.event is None]
        touches = [((one.touch.item, n), one.touch) for n, one in folded if isinstance(one, Acted)]
        numbers = [n for n, one in folded if isinstance(one, Asked)]
        changed = fold_items(sorted(numbers), sorted([*listed, *touches], key=lambda one: one[0]))
        return follow(sorted([*folded, *changed], key=place_of), scene, advance)


def mixed(count):
    """Clicks, views that teach nothing, dislikes, repeats, a catalogue that changes."""
    for n, one in enumerate(told(count)):
        yield one
        if one.event is None:
            continue
        for kind in ("impression", "view", "dislike")[: n % 4]:
            event = Event(
                event_id=f"{n}{kind}", type=kind, at=one.at + 1, user_id=f"u{n % 7}", item_id=f"i{n % 11}",
                surface="home", position=n % 3,
            )  # fmt: skip
            yield Said(one.at + 1, event, kind == "view")
        if n % 25 == 0:
            catalogue = None if n % 50 else Item(title=f"thing {n}", categories=("k9",))
            yield Said(one.at + 2, item=f"i{n % 40}", catalogue=catalogue)


def rows_of(past, part):
    return gather(past, Scene(DEFAULTS, 16), HOME, part, 1, lambda _: None)


def seldom(number):
    return ("train", "test")[number % 2] if number > 100 and number % 5 < 2 else None


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, rows in wanted.items():
        for field in rows.__dataclass_fields__:
            assert getattr(found[name], field).tobytes() == getattr(rows, field).tobytes(), (name, field)


@pytest.fixture(scope="module")
def said():
    return list(mixed(160))


@pytest.mark.parametrize("part", [seldom, lambda n: "test" if n > 60 else None], ids=["few", "all"])
def test_rows_are_those_of_one_process(said, part):
    wanted = rows_of(History(lambda: iter(said), {}), part)

    assert min(len(rows) for rows in wanted.values()) > 10
    same(rows_of(Apart(said), part), wanted)


def test_what_comes_later_changes_no_byte(said):
    early = [n for n in range(len(said) // 2) if seldom(n)]

    def part(number):
        return seldom(number) if number <= early[-1] else None

    same(rows_of(Apart(said), part), rows_of(Apart(said[: early[-1] + 1]), part))
