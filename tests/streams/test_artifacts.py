"""An artifact is what its name says, wherever it is kept."""

import pytest

from streams import artifacts
from streams.errors import SettingsError, StateError, Unavailable
from streams.settings import Settings


@pytest.fixture(params=["folder", "url"])
def settings(request, tmp_path):
    if request.param == "url":
        pytest.importorskip("fsspec")
    place = str(tmp_path / "kept")
    return Settings(artifacts=place if request.param == "folder" else f"file://{place}")


def test_what_was_saved_is_loaded(settings):
    name = artifacts.save(settings, b"trees")

    assert artifacts.save(settings, b"trees") == name
    assert artifacts.load(settings, name, 5) == b"trees"


def test_what_is_not_its_name_is_refused(settings, tmp_path):
    name = artifacts.save(settings, b"trees")
    for harmed in (b"treez", b"tree", b"trees and more"):
        (tmp_path / "kept" / name).write_bytes(harmed)
        with pytest.raises(StateError, match="not what its SHA-256 says"):
            artifacts.load(settings, name, 5)


def test_what_is_missing_is_named(settings):
    with pytest.raises(StateError, match="artifact 000000000000 is not at"):
        artifacts.load(settings, "0" * 64, 5)


def test_more_than_is_ever_written_is_not_read(settings):
    with pytest.raises(StateError, match="is said to have"):
        artifacts.load(settings, "0" * 64, artifacts.MOST + 1)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be stored at"):
        artifacts.save(Settings(artifacts=str(tmp_path / "file")), b"trees")


def test_an_unknown_url_is_named():
    pytest.importorskip("fsspec")
    with pytest.raises(SettingsError, match="REFOLD_ARTIFACTS='nowhere://x'"):
        artifacts.save(Settings(artifacts="nowhere://x"), b"trees")


def test_nothing_half_written_stays(settings, tmp_path):
    name = artifacts.save(settings, b"trees")

    assert [path.name for path in (tmp_path / "kept").iterdir()] == [name]


def test_without_a_setting_they_lie_in_the_data_folder(tmp_path):
    assert artifacts.place(Settings(data=tmp_path)) == str(tmp_path / "artifacts")
