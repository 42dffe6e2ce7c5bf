import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.answers import Answer, Placed
from ops.past.compare import Agreement, Comparison, first_change, overlap, rank_biased_overlap
from streams.slates import Shown, Slate

lists = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=10)


def plainly(one, other, p):
    """Equation 32 of Webber, Moffat and Zobel as it is printed."""
    short, long = sorted((one, other), key=len)
    s, size = len(short), len(long)

    def x(d):
        return len(set(short[:d]) & set(long[:d]))

    first = sum(x(d) / d * p**d for d in range(1, size + 1))
    second = sum(x(s) * (d - s) / (s * d) * p**d for d in range(s + 1, size + 1))
    return (1 - p) / p * (first + second) + ((x(size) - x(s)) / size + x(s) / s) * p**size


@given(lists, lists, st.floats(0.1, 0.99))
def test_rank_biased_overlap_is_the_papers(one, other, p):
    found = rank_biased_overlap(one, other, p)
    assert 0 <= found <= 1 + 1e-9
    assert found == pytest.approx(rank_biased_overlap(other, one, p))
    if one and other:
        assert found == pytest.approx(plainly(one, other, p))
    else:
        assert found == float(one == other)


@given(lists)
def test_a_list_agrees_with_itself_and_with_its_beginning(one):
    assert overlap(one, one) == 1
    assert first_change(one, one) == 0
    assert rank_biased_overlap(one, one) == pytest.approx(1)
    if one:
        assert rank_biased_overlap(one[: len(one) // 2 + 1], one) == pytest.approx(1)


@given(lists, lists)
def test_lists_change_where_they_first_differ(one, other):
    place = first_change(one, other)
    if place:
        assert one[: place - 1] == other[: place - 1]
        assert one[place - 1 : place] != other[place - 1 : place]
    else:
        assert one == other


def test_the_first_places_weigh_most():
    assert rank_biased_overlap("abcd", "abdc") > rank_biased_overlap("abcd", "bacd")


def test_an_agreement_sums_up():
    agreement = Agreement()
    agreement.add("ab", "ab")
    agreement.add("ab", "ac")
    agreement.add("ab", "cb")
    assert agreement.report() == {
        "same": 0.3333,
        "overlap": 0.6667,
        "rank_biased_overlap": pytest.approx((1 + 0.905 / 2 + 0.5 + 0.405 / 2 + 0.045 / 2) / 3, abs=0.2),
        "first_change": 1.5,
    }


def answer(*items):
    placed = tuple(Placed(item_id=item, score=1.0, source=source) for item, source in items)
    return Answer(request_id="r", user_id="u", surface="home", rung="full", items=placed)


def slate(*items):
    return Slate(request_id="r", user_id="u", at=1, surface="home", rung="light", items=items)


def test_a_comparison_names_what_only_one_side_shows_and_the_sources_shares():
    comparison = Comparison()
    served = slate(Shown("a", 0, 1.0, 1.0, "ann"), Shown("b", 1, 1.0, 1.0, "ann"))
    for _ in range(2):
        comparison.add(served, answer(("a", "ann"), ("b", "popular")), answer(("a", "ann"), ("c", "ann")))
    comparison.add(served, answer(("a", "ann"), ("d", "ann")), answer(("a", "ann")))
    found = comparison.report()
    assert found["slates"] == 3
    assert list(found["only_current"].items()) == [("b", 2), ("d", 1)]
    assert found["only_other"] == {"c": 2}
    assert found["sources"] == {
        "ann": {"current": 0.6667, "other": 1.0},
        "popular": {"current": 0.3333, "other": 0.0},
    }
    assert (found["same"], found["first_change"]) == (0.0, 2)
    assert (found["fidelity"]["same"], found["fidelity"]["overlap"]) == (0.6667, 0.8333)
    assert found["rungs"] == {"full": {"served": 0, "current": 3}, "light": {"served": 3, "current": 0}}


def test_many_items_are_cut_to_the_ten_most_frequent():
    comparison = Comparison()
    for n in range(30):
        comparison.add(slate(), answer(*((f"i{k}", "ann") for k in range(n, 30))), answer())
    assert list(comparison.report()["only_current"]) == [f"i{k}" for k in range(29, 19, -1)]
