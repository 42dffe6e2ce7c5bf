"""What an audit writes makes readers of the changelog hold the fold of the log, and a disturbed one is noticed."""

import pytest

from models.actions import DEFAULTS
from models.items import ItemRow
from ops.state import audit
from ops.state.audit import Fenced, take_over, unit
from ops.state.dump import in_changelog
from ops.state.reference import reference
from streams import changelog
from streams.changelog import NOBODY, NOTE, Note
from streams.settings import Settings
from tests.ops.state.lived import Lived
from tests.ops.state.test_fold import AT


@pytest.fixture
def lived(tmp_path):
    return Lived(tmp_path, 1)


def appending(log, table, partition, disturb=None):
    """What appends to the changelog; `disturb` is called before, with the number of the call."""
    calls = []

    def send(records, headers):
        calls.append(records)
        if disturb is not None:
            disturb(len(calls))
        for key, value in records:
            last = log.append(f"{table}-changelog", partition, key, value, AT, headers)
        return last

    return send


def rows(lived, table, partition):
    with in_changelog(lived.log, lived.settings, table, partition) as standing:
        return dict(standing.scan()), standing.note


def spoil(lived, table="items", partition=0):
    """Write, as an owner of the partition may, a wrong row, one that should not be, and none for a third."""
    right, note = rows(lived, table, partition)
    owner = lived.log.append(
        f"{table}-changelog", partition, NOTE, changelog.encode(Note(NOBODY, note.positions)), AT
    )
    wrong = ItemRow.from_row(min(right.values()))
    wrong.chosen = 999
    first, second = sorted(right)[:2]
    beside = changelog.headers(owner)
    for key, value in ((first, wrong.row()), (second, None), (b"zzz", wrong.row())):
        lived.log.append(f"{table}-changelog", partition, key, value, AT, beside)
    lived.log.append(
        f"{table}-changelog", partition, NOTE, changelog.encode(Note(owner, note.positions)), AT, beside
    )
    return right, note


def heal(lived, send, table="items", partition=0):
    with reference(lived.log, lived.settings, "items", partition, DEFAULTS) as truth:
        return take_over(lived.log, lived.settings, truth, send, table, partition)


@pytest.mark.parametrize("chunk", [1, 5, 1_000])
def test_a_healed_changelog_is_the_fold_of_the_log_again(lived, monkeypatch, chunk):
    monkeypatch.setattr(audit, "CHUNK", chunk)
    right, note = spoil(lived)
    assert rows(lived, "items", 0)[0] != right
    healed = heal(lived, appending(lived.log, "items", 0))
    assert (healed.rows, healed.deleted, healed.positions) == (len(right), 1, note.positions)
    assert rows(lived, "items", 0) == (right, Note(healed.owner, note.positions))


@pytest.mark.parametrize("call", [2, 3])
def test_a_worker_that_claims_meanwhile_is_noticed(lived, monkeypatch, call):
    monkeypatch.setattr(audit, "CHUNK", 5)
    spoil(lived)

    def claim(number):
        if number == call:
            lived.log.append("items-changelog", 0, NOTE, changelog.encode(Note(NOBODY, {})), AT)

    with pytest.raises(Fenced):
        heal(lived, appending(lived.log, "items", 0, claim))


def test_rows_that_only_a_worker_here_has_are_deleted_too(lived):
    right, _ = rows(lived, "items", 0)
    stray = dict(lived.tables["items"][0])
    lived.tables["items"][0] = {**stray, b"zzz": stray[min(right)]}
    with lived.disks():
        healed = heal(lived, appending(lived.log, "items", 0))
    assert healed.deleted == 1
    deletions = [r.key for batch in lived.log.changelog("items", 0) for r in batch if r.value is None]
    assert deletions == [b"zzz"]


def test_every_partition_of_every_table_has_its_day():
    settings = Settings(partitions=3)
    assert len({unit(settings, day) for day in range(20_000, 20_009)}) == 9
