"""An index file is mapped, and nothing is answered from a part of it that is damaged."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StoreError
from engine.storage import inverted_file, vectors
from engine.storage.index_file import DamagedIndexError
from engine.storage.inverted import InvertedIndex
from engine.storage.inverted_file import InvertedFile
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.tuning import Tuning
from engine.storage.vectors import load
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space

DIMENSION, COUNT = 8, 150
TUNINGS = {
    "flat": Tuning(),
    "lists": Tuning(flat_rows=60, probe_share=1.0, exact_rows=10, delta_rows=100),
    # lists enough for all that is asked, and codes that choose all of them
    "codes": Tuning(flat_rows=60, coded_rows=60, coded_share=0.99, exact_rows=10, delta_rows=100),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The bytes of an index of each kind over the same rows."""
    folder, kept = tmp_path_factory.mktemp("indexes"), dict[str, bytes]()

    def write(kind: str) -> bytes:
        if kind not in kept:
            vectors.build(DIMENSION, COUNT, lambda: iter([given()]), TUNINGS[kind], folder / kind)
            kept[kind] = (folder / kind).read_bytes()
        return kept[kind]

    return write


def given() -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(0).standard_normal((COUNT, DIMENSION))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.arange(COUNT), unit.astype(np.float16)


@pytest.mark.parametrize("kind", TUNINGS)
@pytest.mark.parametrize("exact", [False, True])
def test_no_answer_comes_from_a_flipped_byte(
    tmp_path: Path, written: Callable[[str], bytes], kind: str, exact: bool
) -> None:
    whole, rows = written(kind), given()[1].astype(np.float32)
    path, noticed = tmp_path / "index", 0
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))  # what lies between sections is zero
    for at in used[:: max(1, len(used) // 150)].tolist():
        data = bytearray(whole)
        data[at] ^= 0x55
        path.write_bytes(data)
        told: list[int] = []
        try:
            base = load(path, lambda told=told: told.append(1))  # type: ignore[misc]
            found = base.search(rows[7], 20, base.everything, TUNINGS[kind], exact=exact)
            unpacked = base.unpack(base.positions)
        except DamagedIndexError:
            noticed += 1
            continue
        order = np.argsort(-found.scores, kind="stable")
        assert found.row_ids[order].tolist() == np.argsort(-(rows @ rows[7]))[:20].tolist()
        assert np.array_equal(unpacked, rows)
        assert not told
    assert noticed > 80


@pytest.mark.parametrize("kind", TUNINGS)
def test_a_file_that_is_cut_short_is_noticed(
    tmp_path: Path, written: Callable[[str], bytes], kind: str
) -> None:
    whole = written(kind)
    for length in np.linspace(0, len(whole) - 1, 40).astype(int).tolist():
        (tmp_path / "index").write_bytes(whole[:length])
        with pytest.raises(DamagedIndexError):
            load(tmp_path / "index")


@pytest.mark.parametrize("bit", [2, 17, 40, 62])
def test_a_size_that_is_damaged(tmp_path: Path, written: Callable[[str], bytes], bit: int) -> None:
    data = bytearray(written("codes"))
    data[struct.calcsize("<16s16s") + bit // 8] ^= 1 << bit % 8  # the number of rows comes first
    (tmp_path / "index").write_bytes(data)
    with pytest.raises(DamagedIndexError):
        load(tmp_path / "index")


def test_codes_of_another_version_are_not_read(
    tmp_path: Path, written: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("lists", "codes"):
        (tmp_path / kind).write_bytes(written(kind))
    monkeypatch.setattr(inverted_file, "_VERSION", b"0.1")
    assert len(load(tmp_path / "lists").row_ids) == COUNT
    with pytest.raises(StoreError, match="another version of FAISS; run `index build`"):
        load(tmp_path / "codes")


def test_a_search_checks_what_it_looks_at_once(
    tmp_path: Path, written: Callable[[str], bytes]
) -> None:
    (tmp_path / "index").write_bytes(written("codes"))
    base, narrow = load(tmp_path / "index"), Tuning(coded_share=0.01, exact_rows=3)
    assert isinstance(base.index, InvertedIndex)
    file, query = base.index.file, given()[1][3].astype(np.float32)
    assert not file.sound.any()
    base.search(query, 1, base.everything, narrow)
    looked = file.sound[:, 0].sum()
    assert 0 < looked < base.index.num_lists
    assert not file.sound[:, 1].any()  # of the vectors only those are read that codes chose
    base.search(query, 1, base.everything, narrow, exact=True)
    assert file.sound[:, 1].all()


@pytest.mark.parametrize("kind", ["lists", "codes"])
def test_a_damaged_index_is_built_afresh(
    tmp_path: Path,
    space: Space,
    make_rows: Callable[..., Rows],
    make_info: Callable[[str], VideoInfo],
    kind: str,
) -> None:
    query = make_rows(0, 1, 9).embeddings[0]
    expected = np.argsort(-(make_rows(0, COUNT).embeddings.astype(np.float16) @ query))[:20]
    args = (space.key, Sampling(2), "dense")
    with Store.open(tmp_path / "data", tuning=TUNINGS[kind]) as store:
        store.catalog.add_space(space)
        video_id = store.catalog.add_video(make_info("/v.mp4"), "hash", "v")
        store.write_part(video_id, *args, 0, 0.0, 75.0, make_rows(0, COUNT))
        store.finish_segment(video_id, *args, COUNT)
        store.build_index(space.key)
    (path,) = (tmp_path / "data").rglob("*.faiss")
    data = np.fromfile(path, np.uint8)
    begin = InvertedFile.open(path).shape.offsets()["vectors"]
    data[begin : begin + 2 * DIMENSION * COUNT] ^= 0x55
    data.tofile(path)
    with Store.open(tmp_path / "data", tuning=TUNINGS[kind]) as store:
        with pytest.raises(DamagedIndexError, match="built afresh with the next search"):
            store.search(space.key, query, 20)
        found = store.search(space.key, query, 20)
        assert (found.row_ids & 0xFFFFFFFF).tolist() == expected.tolist()
        assert store.search(space.key, query, 20, exact=True).exact
        assert store.index_status()[0].state == "ready"
    (again,) = (tmp_path / "data").rglob("*.faiss")
    assert again != path
