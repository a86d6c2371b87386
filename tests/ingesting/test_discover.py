"""Which files are meant."""

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NotFoundError, UsageError
from engine.ingesting.discover import Found, discover, let_through
from engine.ingesting.identify import names_for


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    for name in ("b.mp4", "a.MKV", "notes.txt", "deep/er/c.webm", "deep/d.ts"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def names(paths) -> list[str]:
    return [found.name for found in discover(paths)]


def test_folder(tree) -> None:
    assert names([tree]) == ["a.MKV", "b.mp4", "deep/d.ts", "deep/er/c.webm"]


def test_file_whatever_it_is_called(tree) -> None:
    assert names([tree / "notes.txt"]) == ["notes.txt"]


def test_globs(tree) -> None:
    assert names([tree / "*.mp4"]) == ["b.mp4"]
    assert names([tree / "**" / "*.ts"]) == ["d.ts"]
    assert names([tree / "d*"]) == ["d.ts", "er/c.webm"]


def test_relative_globs(tree, monkeypatch) -> None:
    monkeypatch.chdir(tree)
    assert names(["*.mp4", "deep/*.ts"]) == ["b.mp4", "d.ts"]


def test_name_with_brackets_is_a_file_first(tree) -> None:
    (tree / "x[1].mp4").write_text("x")
    assert names([tree / "x[1].mp4"]) == ["x[1].mp4"]


def test_each_file_once(tree) -> None:
    assert names([tree / "b.mp4", tree, tree / "*.mp4"]).count("b.mp4") == 1


def test_loops_end(tree) -> None:
    (tree / "deep" / "up").symlink_to(tree)
    (tree / "deep" / "self").symlink_to(tree / "deep")
    assert len(names([tree])) == 4


def test_dangling_link_is_found_and_refused_later(tree) -> None:
    (tree / "gone.mp4").symlink_to(tree / "nothing")
    assert "gone.mp4" in names([tree])


def test_nothing_there_fails(tmp_path) -> None:
    with pytest.raises(NotFoundError, match="no file or folder"):
        discover([tmp_path / "none.mp4"])
    with pytest.raises(NotFoundError, match="nothing matches"):
        discover([tmp_path / "*.mp4"])
    assert discover([tmp_path]) == []


def test_names_grow_until_they_are_free(store, tmp_path) -> None:
    for folder in ("one/clips", "two/clips", "three/clips"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.mp4").write_text(folder)
    folders = [tmp_path / name / "clips" for name in ("one", "two", "three")]
    files = discover(folders)
    assert list(names_for(store, files)) == ["a.mp4", "clips/a.mp4", "three/clips/a.mp4"]


@pytest.mark.parametrize("given", ["", " "])
def test_an_empty_path_is_not_this_folder(given: str) -> None:
    with pytest.raises(UsageError, match="an empty path"):
        discover([given])


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tree, monkeypatch, caplog) -> None:
    look = os.scandir

    def refuse(folder):
        if Path(folder).name == "deep":
            raise PermissionError(13, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names([tree]) == ["a.MKV", "b.mp4"]
    assert caplog.messages == [f"cannot read the folder {tree / 'deep'}: permission denied"]
    with pytest.raises(UsageError, match=r"cannot read the folder .*deep: permission denied"):
        discover([tree / "deep"])


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        ([], [], ["a.MKV", "b.mp4", "deep/d.ts", "deep/er/c.webm"]),
        (["*.mp4", "*.ts"], [], ["b.mp4", "deep/d.ts"]),
        (["deep"], ["er"], ["deep/d.ts"]),
        (["deep/*"], [], ["deep/d.ts", "deep/er/c.webm"]),
        ([], ["*.mkv"], ["a.MKV", "b.mp4", "deep/d.ts", "deep/er/c.webm"]),
        ([], ["*"], []),
    ],
)
def test_globs_let_through(tree, include, exclude, left) -> None:
    assert [each.name for each in let_through(discover([tree]), include, exclude)] == left


@given(st.text("ab/", min_size=1, max_size=6), st.text("ab/*?", min_size=1, max_size=5))
def test_globs_are_those_of_sqlite(name: str, glob: str) -> None:
    parts = [name] if "/" in glob else name.split("/")
    with sqlite3.connect(":memory:") as database:
        ask = "SELECT ? GLOB ?"
        matches = any(database.execute(ask, [part, glob]).fetchone()[0] for part in parts)
    database.close()
    found = [Found(Path("x"), name)]
    assert bool(let_through(found, [glob])) == matches
    assert bool(let_through(found, (), [glob])) != matches


def test_empty_glob_is_refused(tree) -> None:
    with pytest.raises(UsageError, match="an empty glob"):
        let_through(discover([tree]), [" "])
