"""Publishing a file: the order of its steps, and what a failure leaves."""

import resource
from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.storage.database import Database
from engine.storage.durable import checksum, publish


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path, seen = tmp_path / "new" / "folder" / "file", []

    def fill(file: Path) -> None:
        file.write_text("text")

    publish(path, fill, what="part", reached=lambda p: seen.append((p, path.exists())))
    assert seen == [
        ("part: begin", False),
        ("part: written", False),
        ("part: synced", False),
        ("part: renamed", True),
        ("part: published", True),
    ]
    assert path.read_text() == "text"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fill(file: Path) -> None:
        file.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"cannot write .*No space left"):
        publish(tmp_path / "file", fill, what="part", reached=lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_on_a_full_disk_is_an_error_of_the_store(tmp_path: Path) -> None:
    Database(tmp_path / "kept").close()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(StoreError, match="cannot open the catalog "):
            Database(tmp_path / "catalog")
        Database(tmp_path / "kept").close()  # opening one that is there writes nothing
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_closed_catalog_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "catalog")
    database.close()
    with pytest.raises(StoreError, match="was closed"):
        database.one("SELECT 1")


def test_checksum(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert checksum(tmp_path / "empty").startswith("e3b0c44298fc1c14")
