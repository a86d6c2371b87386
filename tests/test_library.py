"""A data folder without a model."""

from pathlib import Path

import numpy as np
import pytest

from engine import Library
from engine.errors import NotFoundError, StoreError
from engine.storage.lock import holder
from tests.asking import Videos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with three videos, one of them embedded up to its half."""
    with Videos(tmp_path / "data").store:
        return tmp_path / "data"


def test_how_much_is_embedded(folder: Path) -> None:
    with Library.open(folder) as library:
        found = library.completeness()
        assert repr(library) == f"<Library {folder}>"
        assert [each.name for each in found] == [video.name for video in library.videos()]
        assert [each.embedded for each in found] == [40, 40, 20]
        assert library.completeness([2]) == found[1:2]
        key = library.spaces()[0].key
        assert key == library.current_space().key
        library.remove_space(key)
        assert library.current_space() is None
        assert library.completeness() == library.spaces() == []
        with pytest.raises(NotFoundError):
            library.use_space(key)


def test_indexes_are_built_from_the_stored_rows(folder: Path) -> None:
    with Library.open(folder) as library:
        key = library.spaces()[0].key
        rows = np.sum([each.embedded for each in library.completeness()])
        assert [(each.space_key, each.num_indexed) for each in library.indexes()] == [(key, 0)]
        [built] = library.build_indexes()
        assert built.num_indexed == built.num_rows == rows
        assert library.index(key) == built
        with pytest.raises(NotFoundError):
            library.index("another")


def test_a_lost_part_is_missed_in_its_video(folder: Path) -> None:
    min((folder / "parts").rglob("*.parquet")).unlink()
    with Library.open(folder) as library:
        assert library.verify("v2.mp4") == []
        assert {problem.video_id for problem in library.verify("v1.mp4")} == {1}


def test_a_reader_stands_beside_the_server_and_changes_nothing(folder: Path) -> None:
    with Library.open(folder) as library:
        library.announce("http://127.0.0.1:1")
        assert holder(folder).url == "http://127.0.0.1:1"
        with Library.open(folder, read_only=True) as reader:
            assert reader.videos() == library.videos()
            with pytest.raises(StoreError):
                reader.remove("v1.mp4")
