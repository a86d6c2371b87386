"""Which objects an address means, against what `pathlib` finds in folders of the same names."""

from pathlib import Path

import pytest

from engine.errors import NotFoundError, UsageError
from engine.ingesting.discover import discover
from tests.objects.s3 import S3

KEYS = (
    "films/a.mp4", "films/b.MKV", "films/notes.txt", "films/north/a.mp4", "films/north/c[1].mp4",
    "films/north/deep/d é.mp4", "films/south/x1.mp4", "films/south/x2.mp4", "films/south/x10.mp4",
    "filmsette/z.mp4", "top.mp4",
)  # fmt: skip


@pytest.fixture
def tree(s3: S3, tmp_path: Path) -> Path:
    for key in KEYS:
        s3.put(key, b"1")
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(b"1")
    s3.page = 3
    return tmp_path


def found(given: str) -> dict[str, str]:
    return {str(each.path).removeprefix("s3://bucket/"): each.name for each in discover([given])}


@pytest.mark.parametrize("folder", ["films", "films/", "films/north", ""])
def test_a_folder_is_what_lies_below_it(tree: Path, folder: str) -> None:
    local = {str(each.path.relative_to(tree)): each.name for each in discover([tree / folder])}
    assert found(f"s3://bucket/{folder}") == local


@pytest.mark.parametrize(
    "glob",
    [
        "films/*.mp4", "films/*", "films/**/*.mp4", "films/**/x?.mp4", "films/south/x[!2].mp4",
        "**/*.mp4", "films/*/a.mp4", "f*/**/d*.mp4", "films/n*/c*", "films/south/x[12].*",
    ],
)  # fmt: skip
def test_a_glob_is_what_it_is_for_files(tree: Path, glob: str) -> None:
    local = {str(path.relative_to(tree)): path.name for path in tree.glob(glob) if path.is_file()}
    assert local
    assert found(f"s3://bucket/{glob}") == local


def test_one_object_is_itself(tree: Path) -> None:
    assert found("s3://bucket/films/notes.txt") == {"films/notes.txt": "notes.txt"}
    assert found("s3://bucket/films/north/c[1].mp4") == {"films/north/c[1].mp4": "c[1].mp4"}
    assert len(discover(["s3://bucket/films/", "s3://bucket/films/a.mp4"])) == 8


def test_what_is_not_there_is_said(tree: Path) -> None:
    for given, said in (
        ("s3://bucket/film", "no object s3://bucket/film and none below it"),
        ("s3://bucket/films/*.avi", "nothing matches"),
        ("s3://other/a.mp4", "no bucket s3://other"),
    ):
        with pytest.raises(NotFoundError, match=said):
            discover([given])
    with pytest.raises(UsageError, match="one bucket"):
        discover(["s3://b*/a.mp4"])
