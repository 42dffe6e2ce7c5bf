"""Examples of a rebuild are said in the order of time, the same whatever order the partitions were folded in."""

from ops.state import spool
from streams import examples
from streams.examples import Choice

MINUTE = spool.SPAN


def chosen(origin, at, item="i"):
    return Choice(origin, item, (), at, 1.0)


def spooled(folder, told):
    """Write records of examples by partition; return where they are."""
    paths = {}
    for number, records in told.items():
        paths[number] = folder / f"examples-{number}"
        spool.write(paths[number], [examples.encode(0, number, said) for said in records])
    return paths


def test_partitions_alternate_by_the_minute(tmp_path):
    first, second = [chosen(1, 10), chosen(2, 20)], [chosen(3, 2 * MINUTE)]
    other = [chosen(1, 15), chosen(2, MINUTE + 1)]
    paths = spooled(tmp_path, {1: [other], 0: [first, second]})
    assert list(spool.together(paths)) == [(0, first), (1, other[:1]), (1, other[1:]), (0, second)]


def test_what_came_late_stays_in_its_place(tmp_path):
    said = [chosen(1, 3 * MINUTE), chosen(2, 10), chosen(3, 3 * MINUTE + 1)]
    others = [chosen(1, MINUTE)]
    paths = spooled(tmp_path, {0: [said], 1: [others]})
    assert list(spool.together(paths)) == [(1, others), (0, said)]


def test_records_are_appended(tmp_path):
    for origin in range(3):
        spool.write(tmp_path / "examples-0", [examples.encode(0, 0, [chosen(origin, 5)])])
    assert list(spool.together({0: tmp_path / "examples-0"})) == [(0, [chosen(n, 5) for n in range(3)])]
    assert list(spool.together({})) == []
