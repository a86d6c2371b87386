"""A backup in a bucket is there as a whole or not at all, whatever breaks off and when."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import EngineError, NotFoundError, StoreError, UsageError
from engine.objects.address import read_address
from engine.storage.bucket_backup import backup_to, restore_from
from engine.storage.check import check
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.vision.backbone.space import Space
from tests.objects.s3 import S3, stored

MakeRows = Callable[..., Rows]
PLACE = read_address("s3://bucket/safe")


@pytest.fixture
def store(store_with_two_videos: Store) -> Store:
    store = store_with_two_videos
    store.layout.uploads.mkdir()
    (store.layout.uploads / "sent.mp4").write_bytes(b"bytes")
    store.settle()
    return store


def names(s3: S3, folder: str) -> list[str]:
    return sorted(key for key in s3.objects if key.startswith(f"safe/{folder}/"))


def expect_same(root: Path, store: Store, space: Space) -> None:
    assert check(root).problems == []
    with Store.open(root) as again:
        assert again.rows(space.key).equals(store.rows(space.key))
        assert again.verify() == []
        assert (again.layout.uploads / "sent.mp4").read_bytes() == b"bytes"


def test_what_is_sent_comes_back_and_costs_once(
    s3: S3, tmp_path: Path, store: Store, make_rows: MakeRows, space: Space
) -> None:
    store.build_index(space.key)
    store.settle()
    first = backup_to(store.layout.root, PLACE)
    assert (first.damaged, first.kept) == ([], 0)
    again = backup_to(store.layout.root, PLACE)
    assert (again.files, again.kept) == (0, first.files)
    assert len(names(s3, "backups")) == 1
    store.write_part(2, space.key, Sampling(2), "reusevit", 2, 10.0, 15.0, make_rows(20, 30, 7))
    store.catalog.remove_video("a")
    store.settle()
    before = set(names(s3, "objects"))
    later = backup_to(store.layout.root, PLACE)
    assert 0 < later.files < first.files
    assert len(names(s3, "backups")) == 1
    assert before < set(names(s3, "objects"))  # another backup under way may count on them
    for key in before:
        s3.objects[key] = stored_before(s3, key, 2 * 86_400)
    backup_to(store.layout.root, PLACE)
    [listed] = names(s3, "backups")
    line = s3.objects[listed].content.partition(b"\n")[0]
    named = {each["sha256"] for each in json.loads(line)["files"]}
    assert {key.rpartition("/")[2] for key in names(s3, "objects")} == named
    restore_from(PLACE, tmp_path / "again")
    expect_same(tmp_path / "again", store, space)


def stored_before(s3: S3, key: str, seconds: float):
    old = s3.objects[key]
    return type(old)(old.content, old.etag, old.modified - seconds)


def test_wherever_a_backup_breaks_off_none_or_all_of_it_is_there(
    s3: S3, tmp_path: Path, store: Store, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEJAVU_OBJECT_TRIES", "1")
    for count in range(99):
        s3.asked.clear()
        s3.fail(".", 10**6, drop=True)
        s3.faults[0].matches = lambda *_, n=count: len(s3.asked) >= n
        sent = len(names(s3, "objects"))
        try:
            done = backup_to(store.layout.root, PLACE)
        except EngineError:
            s3.faults.clear()
            if names(s3, "backups"):  # it broke off while it tidied up
                break
            with pytest.raises(EngineError, match=r"not finished|no backup"):
                restore_from(PLACE, tmp_path / "again")
            assert not (tmp_path / "again").exists()
        else:
            assert done.kept == sent
            break
    assert count > 5
    restore_from(PLACE, tmp_path / "again")
    expect_same(tmp_path / "again", store, space)


def test_a_list_that_was_written_though_no_answer_came_is_the_backup(
    s3: S3, tmp_path: Path, store: Store, space: Space
) -> None:
    s3.fail("^PUT .*/(backups|store.json)", 2, late=True)
    assert backup_to(store.layout.root, PLACE).damaged == []
    assert not any(fault.times for fault in s3.faults)
    restore_from(PLACE, tmp_path / "again")
    expect_same(tmp_path / "again", store, space)


def test_wherever_a_restore_breaks_off_nothing_opens_it_and_it_goes_on(
    s3: S3, tmp_path: Path, store: Store, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_to(store.layout.root, PLACE)
    monkeypatch.setenv("DEJAVU_OBJECT_TRIES", "1")
    root, refused = tmp_path / "again", 0
    for count in range(99):
        s3.asked.clear()
        s3.fail(".", 10**6, short=count % 2 == 0, drop=count % 2 == 1)
        s3.faults[0].matches = lambda *_, n=count: len(s3.asked) >= n
        try:
            restore_from(PLACE, root)
        except EngineError:
            s3.faults.clear()
            if root.exists():
                refused += 1
                with pytest.raises(StoreError, match="store restore s3://bucket/safe --data"):
                    Store.open(root)
        else:
            break
    assert refused >= 2
    expect_same(root, store, space)


def test_a_killed_backup_is_none_and_the_next_goes_on(
    s3: S3, tmp_path: Path, store: Store, space: Space
) -> None:
    root = store.layout.root
    s3.fail("^PUT .*/objects/", 10**6, delay=120.0)
    s3.faults[0].matches = lambda method, path: (
        method == "PUT" and "/objects/" in path and len(names(s3, "objects")) >= 2
    )
    program = (
        "import sys; from pathlib import Path; from engine.objects.address import read_address;"
        " from engine.storage.bucket_backup import backup_to;"
        " backup_to(Path(sys.argv[1]), read_address(sys.argv[2]))"
    )
    environment = {**os.environ, "DEJAVU_OBJECT_SECONDS": "120"}
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(root), str(PLACE)],
        env=environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(names(s3, "objects")) < 2:
        assert child.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    s3.faults.clear()
    assert names(s3, "backups") == []
    with pytest.raises(StoreError, match="was not finished; nothing was restored"):
        restore_from(PLACE, tmp_path / "again")
    assert backup_to(root, PLACE).kept == 2
    restore_from(PLACE, tmp_path / "again")
    expect_same(tmp_path / "again", store, space)


def test_damage_is_refused_by_name(s3: S3, tmp_path: Path, store: Store) -> None:
    backup_to(store.layout.root, PLACE)
    for number, key in enumerate([*names(s3, "objects"), *names(s3, "backups")]):
        good = s3.objects[key]
        assert isinstance(good.content, bytes)
        for how, content in enumerate((b"x" + good.content[1:], good.content[:-1], None)):
            if content is None:
                del s3.objects[key]
            else:
                s3.objects[key] = stored(content)
            root = tmp_path / f"{number}-{how}"
            said = f"s3://bucket/{key}" if "/objects/" in key or content else "not finished"
            with pytest.raises(StoreError, match=said):
                restore_from(PLACE, root)
            if root.exists():
                with pytest.raises(StoreError):
                    Store.open(root)
            s3.objects[key] = good


def test_of_two_at_a_time_one_is_told(s3: S3, tmp_path: Path, store: Store, space: Space) -> None:
    root, other = store.layout.root, tmp_path / "other"
    backup_to(root, PLACE)
    restore_from(PLACE, other)
    for folder in (root, other):
        (folder / "cards").mkdir(exist_ok=True)
        (folder / "cards" / "x.md").write_text(folder.name)
    first = names(s3, "backups")
    s3.fail("^PUT .*/backups/", 1, delay=0.01)
    meanwhile = s3.faults[0].matches

    def matches(method: str, path: str) -> bool:
        """Let the other one be first, when this one is about to write its list."""
        if not meanwhile(method, path):
            return False
        s3.faults[0].times = 0
        thread = threading.Thread(target=backup_to, args=(other, PLACE))
        thread.start()
        s3.lock.release()
        thread.join()
        s3.lock.acquire()
        return False

    s3.faults[0].matches = matches
    with pytest.raises(StoreError, match="another backup was made at s3://bucket/safe meanwhile"):
        backup_to(root, PLACE)
    [second] = names(s3, "backups")
    assert second != first
    backup_to(root, PLACE)
    restore_from(PLACE, tmp_path / "again")
    assert (tmp_path / "again/cards/x.md").read_text() == root.name
    expect_same(tmp_path / "again", store, space)


def test_no_backup_is_written_over_by_another(
    s3: S3, tmp_path: Path, store: Store, make_rows: MakeRows, space: Space
) -> None:
    root = store.layout.root
    with Store.open(tmp_path / "other"):
        pass
    backup_to(root, PLACE)
    with pytest.raises(StoreError, match="a backup of another store; nothing was copied"):
        backup_to(tmp_path / "other", PLACE)
    restore_from(PLACE, tmp_path / "old")
    store.write_part(2, space.key, Sampling(2), "reusevit", 2, 10.0, 15.0, make_rows(20, 30, 7))
    store.settle()
    backup_to(root, PLACE)
    with pytest.raises(StoreError, match="which comes after"):
        backup_to(tmp_path / "old", PLACE)
    with pytest.raises(StoreError, match="is not empty; nothing was restored"):
        restore_from(PLACE, tmp_path / "old")
    with pytest.raises(NotFoundError, match="no backup s3://bucket/elsewhere"):
        restore_from(read_address("s3://bucket/elsewhere"), tmp_path / "new")
    with pytest.raises(UsageError, match="allowed: a folder, s3://, gs://, az://"):
        backup_to(root, read_address("https://host/x"))
