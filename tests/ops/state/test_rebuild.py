"""What a rebuild makes of what its processes say; `tests/kafka/test_rebuild.py` runs whole ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.processes import Process
from ops.state.rebuild import _await, _last_word, _Said, _summary
from ops.state.rebuilder import Compared, Done, Passed, compare, tell
from streams.errors import StateError
from streams.generations import Generation

ROWS = st.dictionaries(st.binary(max_size=2), st.binary(max_size=1), max_size=12)


def done(partition=0, **more):
    values = {
        "stage": "users", "partition": partition, "records": 5, "events": 50, "refused": 1,
        "positions": {"events": 5}, "compared": {"users": Compared(equal=3)}, "seconds": {}, "busy": 2.0,
        "rss_mb": 80.0,
    }  # fmt: skip
    return Done(**{**values, **more})


def one(number, **folds):
    return Generation(number=number, stage="live", folds={"users": "a", "items": "b", **folds})


@given(ROWS, ROWS)
def test_rows_are_compared_by_key(ours, theirs):
    found = compare(sorted(ours.items()), sorted(theirs.items()))

    keys = {*ours, *theirs}
    equal = {key for key in keys if ours.get(key) == theirs.get(key)}
    assert (found.equal, found.different) == (len(equal), len(keys - equal))
    assert found.keys == [key.decode(errors="replace") for key in sorted(keys - equal)][:10]


def test_what_a_process_says_is_heard_and_its_log_is_not(capsys):
    passed = []
    said = _Said(passed.append)
    tell(Passed(7))
    tell(done())
    for line in capsys.readouterr().out.splitlines():
        said.hear(line)
    said.hear("WARNING a broker was slow")
    said.hear('{"some": "json"}')

    assert passed == [7]
    assert said.done == [done()]


def test_a_process_that_ends_badly_stops_the_rebuild_by_its_last_word(tmp_path):
    script = ["sh", "-c", "echo starting; echo 'refold: events[1] has a hole'; exit 1"]
    child = Process("rebuild-0", script, tmp_path / "log", hear=lambda _: None)
    with pytest.raises(StateError, match=r"the rebuild stopped: events\[1\] has a hole"):
        _await([child])
    child = Process(
        "rebuild-1", ["sh", "-c", "echo Traceback; exit 3"], tmp_path / "log", hear=lambda _: None
    )
    with pytest.raises(StateError, match="rebuild-1 ended with code 3: Traceback"):
        _await([child])
    fine = Process("rebuild-2", ["true"], tmp_path / "log", hear=lambda _: None)
    _await([fine])
    assert "ended with code 0" in _last_word(fine, 0)


def test_the_verdict():
    both = [done(0), done(1, rss_mb=90.4, compared={"users": Compared(3, 1, ["anna"])})]
    assert _summary(one(0), one(1), both[:1], 2.0)["verdict"] == "equal"
    found = _summary(one(0), one(1), both, 2.0)
    assert found["verdict"] == "different"
    assert found["tables"] == {"users": {"equal": 6, "different": 1, "keys": ["anna"]}}
    assert (found["events"], found["events_per_s"], found["rss_mb"]) == (100, 50, 90)
    assert _summary(one(0), one(1, users="c"), both, 2.0)["verdict"] == "other folds"
