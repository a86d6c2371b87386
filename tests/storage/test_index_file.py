"""An index file is mapped, and nothing is answered from a part of it that is damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StoreError
from engine.storage.index_file import _END, DamagedIndexError, IndexFile, Sums
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.vectors import Tuning, build, extend, load
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space

DIMENSION, COUNT = 8, 150
TUNING = Tuning(flat_rows=60, probe_share=1.0, exact_rows=10, delta_rows=500)


@pytest.fixture
def folder(
    tmp_path: Path,
    space: Space,
    make_rows: Callable[..., Rows],
    make_info: Callable[[str], VideoInfo],
) -> Path:
    """A store with an inverted file."""
    with Store.open(tmp_path / "data", tuning=TUNING) as store:
        store.catalog.add_space(space)
        video_id = store.catalog.add_video(make_info("/v.mp4"), "hash", "v")
        store.write_part(
            video_id, space.key, Sampling(2), "dense", 0, 0.0, 75.0, make_rows(0, COUNT)
        )
        store.finish_segment(video_id, space.key, Sampling(2), "dense", COUNT)
        store.build_index(space.key)
    return tmp_path / "data"


@pytest.mark.parametrize("share", np.linspace(0.001, 0.999, 14).tolist())
def test_no_answer_comes_from_a_flipped_byte(
    folder: Path, space: Space, make_rows: Callable[..., Rows], share: float
) -> None:
    (path,) = folder.rglob("*.faiss")
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 0x55
    path.write_bytes(data)
    query = make_rows(0, 1, 9).embeddings[0]
    expected = np.argsort(-(make_rows(0, COUNT).embeddings.astype(np.float16) @ query))[:20]
    with Store.open(folder, tuning=TUNING) as store:
        try:
            found = store.search(space.key, query, 20)
        except DamagedIndexError:  # a list that this search would have looked at
            found = store.search(space.key, query, 20)
        assert (found.row_ids & 0xFFFFFFFF).tolist() == expected.tolist()


@pytest.mark.parametrize("bit", [2, 17, 40, 62])
def test_a_number_of_lists_that_is_damaged(tmp_path: Path, bit: int) -> None:
    rows = np.eye(DIMENSION, dtype=np.float16)
    build(DIMENSION, 8, lambda: iter([(np.arange(8), rows)]), TUNING).index.save(tmp_path / "index")
    data = bytearray((tmp_path / "index").read_bytes())
    at = len(data) - _END.size + bit // 8  # the number comes first
    data[at] ^= 1 << bit % 8
    (tmp_path / "index").write_bytes(data)
    with pytest.raises(DamagedIndexError):
        load(tmp_path / "index")


def test_a_list_is_checked_once_and_named_damaged(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((COUNT, DIMENSION)).astype(np.float16)
    ids = np.arange(COUNT)
    base = build(DIMENSION, COUNT, lambda: iter([(ids, rows)]), TUNING)
    base.index.save(tmp_path / "index")
    by_row, file = IndexFile.open(tmp_path / "index", lambda: None)
    assert not file.sound.any()
    mapped = load(tmp_path / "index")
    query = rows[3].astype(np.float32)
    found = mapped.search(query, 9, mapped.everything, TUNING)
    expected = base.search(query, 9, base.everything, TUNING)
    assert found.row_ids.tolist() == expected.row_ids.tolist()
    assert np.array_equal(mapped.unpack(ids), rows.astype(np.float32))
    more = extend(mapped, np.array([COUNT]), rows[:1])
    assert len(more.row_ids) == COUNT + 1
    sums = Sums.of_index(by_row)
    assert np.array_equal(sums.values, file.sums.values)
    wrong = IndexFile(file.path, Sums(sums.values ^ 1), lambda: None, file.sound)
    with pytest.raises(StoreError, match="is damaged; it is built afresh"):
        wrong.check(mapped.index.by_position, np.arange(3))


@pytest.mark.parametrize("count", [1, 20])
def test_a_small_index_is_read_again(tmp_path: Path, count: int) -> None:
    rows = np.eye(DIMENSION, dtype=np.float16)[np.arange(count) % DIMENSION]
    base = build(DIMENSION, count, lambda: iter([(np.arange(count), rows)]), TUNING)
    base.index.save(tmp_path / "index")
    assert load(tmp_path / "index").row_ids.tolist() == list(range(count))
