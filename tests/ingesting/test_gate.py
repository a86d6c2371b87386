"""An ingest that leaves calm groups of pictures undecoded: its rows, its bound, its word."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UsageError
from engine.ingest import IngestOptions, ingest
from engine.storage.store import Store
from engine.video.write import write_h264

FPS, SECONDS = 4, 60
BUSY = range(12, 18)  # seconds in which every picture is another
GATED = IngestOptions(strategy="dense", decode_gate=True, max_drift=0.002)
WHOLE = IngestOptions(strategy="dense")


def fixed_camera(path: Path, *, busy: range = BUSY, seconds: int = SECONDS) -> Path:
    """A still view with noise; in some seconds something fills it."""
    random = np.random.default_rng(4)
    view = random.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)

    def picture(number: int) -> np.ndarray:
        if number // FPS in busy:
            return random.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        return np.clip(view + random.integers(-2, 3, view.shape), 0, 255).astype(np.uint8)

    write_h264(path, map(picture, range(FPS * seconds)), FPS, gop=FPS, bframes=0)
    return path


@pytest.fixture(scope="module")
def model(moved_model):
    return moved_model


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixed_camera(tmp_path_factory.mktemp("gate") / "room.mp4")


def rows_of(store: Store, model, paths, options: IngestOptions):
    report = ingest(store, model, paths, options)
    columns = ["frame", "seconds", "picture", "strategy", "reuse_rate", "drift", "exact"]
    table = store.rows(model.space.key, None, [*columns, "embedding"]).sort_by("frame")
    vectors = np.array(table.column("embedding").to_pylist(), np.float32)
    return (
        report,
        {name: table.column(name).to_numpy(zero_copy_only=False) for name in columns},
        (vectors),
    )


@pytest.fixture(scope="module")
def both(clip, tmp_path_factory, model):
    """What a plain ingest gives, and what one with the gate does."""
    found = []
    for options in (WHOLE, GATED):
        with Store.open(tmp_path_factory.mktemp("data") / "store") as store:
            found.append(rows_of(store, model, [clip], options))
    return found


def test_every_sample_has_its_row(both) -> None:
    (plain, rows, vectors), (gated, ours, own) = both
    for column in ("frame", "seconds"):
        assert (ours[column] == rows[column]).all()
    exact = ours["exact"]
    assert np.allclose(own[exact], vectors[exact], atol=2e-3)
    assert (ours["picture"][exact] == rows["picture"][exact]).all()
    assert (ours["drift"][exact] == 0).all()
    [video] = gated.videos
    assert video.carried == (~exact).sum() > 20
    assert video.pictures < 0.6 * plain.videos[0].pictures
    assert plain.videos[0].gate is None
    assert f"{video.carried} of {len(exact)} frames carried" in video.gate


def test_a_carried_row_says_so_and_has_the_vector_before_it(both) -> None:
    _, (gated, ours, own) = both
    carried = ours["strategy"] == "carried"
    assert (carried == ~ours["exact"]).all()
    assert (ours["reuse_rate"][carried] == 1).all()
    assert (ours["picture"][carried] == "?").all()
    assert (ours["drift"][carried] > 0).all()
    for row in np.flatnonzero(carried):
        before = max(at for at in range(row) if not carried[at])
        assert (own[row] == own[before]).all()
    seconds = ours["seconds"][carried]
    assert not any(second in BUSY for second in seconds.astype(int))
    assert gated.videos[0].drift == pytest.approx(ours["drift"].mean(), rel=1e-3)


def test_the_drift_is_within_the_bound(both) -> None:
    (_, _, vectors), (_, _, own) = both
    drift = 1 - (vectors * own).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(
        own, axis=1
    )
    assert 0 < drift.mean() <= 0.002


def test_carried_rows_are_made_exact_as_others_are(clip, store, model) -> None:
    ingest(store, model, [clip], GATED)
    table = store.rows(model.space.key, None, ["frame", "exact"])
    frame = next(row["frame"] for row in table.to_pylist() if not row["exact"])
    [video] = store.catalog.videos()
    vector = np.eye(16, dtype=np.float32)[:1]
    store.supersede(model.space.key, video.video_id, np.array([frame]), vector)
    rows = store.rows(model.space.key, None, ["frame", "exact", "strategy"]).to_pylist()
    [row] = [row for row in rows if row["frame"] == frame]
    assert row["exact"]
    assert row["strategy"] == "dense"


@pytest.mark.parametrize(
    ("busy", "seconds", "reason"),
    [
        (range(60), 60, "off: calm groups of pictures drift too much"),
        (range(0), 20, "off: 20 groups of pictures, fewer than 32"),
    ],
)
def test_the_gate_says_why_it_is_off(tmp_path, store, model, busy, seconds, reason) -> None:
    path = fixed_camera(tmp_path / "clip.mp4", busy=busy, seconds=seconds)
    report = ingest(store, model, [path], GATED)
    [video] = report.videos
    assert video.gate == reason
    assert video.carried == 0
    assert video.rows == 2 * seconds


def test_frames_too_sparse_to_save_anything_are_said_to_be(clip, store, model) -> None:
    sparse = IngestOptions(strategy="dense", decode_gate=True, fps=1)
    [video] = ingest(store, model, [clip], sparse).videos
    assert video.gate == "off: hardly any picture could be left out"
    assert video.rows == SECONDS


def test_damage_is_decoded_in_full_and_reported_as_ever(clip, tmp_path, model) -> None:
    data = bytearray(clip.read_bytes())
    at = len(data) // 2
    data[at : at + 400] = b"\x55" * 400
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    found = []
    for name, options in (("whole", WHOLE), ("gated", GATED)):
        with Store.open(tmp_path / name) as store:
            report, rows, _ = rows_of(store, model, [broken], options)
            found.append((report.videos[0], rows))
    assert set(found[1][1]["frame"]) >= set(found[0][1]["frame"])
    assert found[1][0].outcome == found[0][0].outcome == "ready"


def test_two_ingests_leave_out_the_same(clip, tmp_path, model) -> None:
    found = []
    for name in ("one", "two"):
        with Store.open(tmp_path / name) as store:
            found.append(rows_of(store, model, [clip], GATED)[1]["strategy"].tolist())
    assert found[0] == found[1]


def test_a_gate_needs_a_bound() -> None:
    with pytest.raises(UsageError, match="decode_gate keeps a bound on drift"):
        IngestOptions(decode_gate=True, max_drift=None)


def test_a_strategy_and_the_gate_share_the_bound(clip, tmp_path, model) -> None:
    found = []
    for name, options in (
        ("whole", WHOLE),
        ("gated", replace(GATED, strategy="earlygate", max_drift=0.01)),
    ):
        with Store.open(tmp_path / name) as store:
            found.append(rows_of(store, model, [clip], options))
    (_, _, exact), (report, rows, vectors) = found
    assert set(rows["strategy"]) == {"carried", "earlygate"}
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (exact, vectors)]
    assert (1 - (unit[0] * unit[1]).sum(1)).mean() <= 0.01
    assert "as far as what gate and strategy drift adds up" in report.promise


def test_where_the_gate_is_off_the_strategy_has_the_whole_bound(tmp_path, model) -> None:
    path = fixed_camera(tmp_path / "short.mp4", seconds=20)
    found = []
    for gate in (False, True):
        options = IngestOptions(strategy="earlygate", decode_gate=gate, max_drift=0.004)
        with Store.open(tmp_path / f"{gate}") as store:
            found.append(rows_of(store, model, [path], options))
    assert "fewer than 32" in found[1][0].videos[0].gate
    assert np.array_equal(found[0][2], found[1][2])


def test_an_audit_by_several_threads_finds_the_same(clip, tmp_path, model) -> None:
    found = []
    for workers in (1, 5):
        with Store.open(tmp_path / f"{workers}") as store:
            options = replace(GATED, workers=workers)
            found.append(rows_of(store, model, [clip], options))
    assert found[0][0].videos[0].gate == found[1][0].videos[0].gate
    assert np.array_equal(found[0][2], found[1][2])
