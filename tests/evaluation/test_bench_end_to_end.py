"""A whole ingest by every way: the plain loop samples as we do, drift is counted against dense."""

import numpy as np
import pytest
import torch

from engine.errors import UsageError
from engine.evaluation.bench import end_to_end
from engine.evaluation.bench.cameras import CODINGS, write_camera
from engine.evaluation.bench.end_to_end import DECODE_DENSE, DENSE, PLAIN, PLAIN_BF16, run
from engine.evaluation.bench.plain_ingest import plain_ingest
from engine.evaluation.ingest_plot import draw_ingests, read_ingests
from engine.video.coded import read_coded
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.sample import sample_frames, sample_times
from engine.vision.backbone.preprocess import Preprocessing

SQUARE = Preprocessing(32, 32, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    path = tmp_path_factory.mktemp("camera") / "1s.mp4"
    return write_camera(path, 3, CODINGS["1s"], seconds=34, redundancy=0.9)


def mean_colours(pixels: torch.Tensor) -> torch.Tensor:
    """A vector that says what was seen."""
    vectors = torch.nn.functional.avg_pool2d(pixels.float(), 8).flatten(1)
    return torch.nn.functional.normalize(vectors, dim=-1)


def test_the_plain_loop_samples_the_frames_that_an_ingest_does(camera, tmp_path) -> None:
    done = plain_ingest([camera], tmp_path / "x.parquet", mean_colours, SQUARE, fps=2, batch=32)
    gops = index_gops(camera)
    times = sample_times(gops[0].start_seconds, gops[-1].stop_seconds, 2)
    frames = list(sample_frames(decode_range(camera, 0, 99, gops=gops), times))
    assert sorted(frame for _, frame in done.vectors) == [frame.number for frame in frames]
    assert done.pictures == len(read_coded(camera).key)
    assert (tmp_path / "x.parquet").is_file()


def test_every_way_in_one_table(camera, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(end_to_end.shutil, "which", lambda _: None)
    ways = (PLAIN, DENSE, DECODE_DENSE)
    report = run([camera], rounds=1, ways=ways, device="cpu", precision="bf16")
    rows = {row[0]: dict(zip(report.columns, row, strict=True)) for row in report.rows}
    assert rows[PLAIN]["pictures"] == 408
    assert 1e-7 < rows[PLAIN]["drift"] < 1e-2  # float32 beside bf16
    assert rows[PLAIN_BF16]["drift"] < rows[PLAIN]["drift"]
    assert rows[PLAIN_BF16]["pictures"] == 408
    assert rows[DENSE]["drift"] == pytest.approx(0, abs=1e-6)
    assert rows[DECODE_DENSE]["pictures"] < rows[DENSE]["pictures"] < 408
    assert 0 < rows[DECODE_DENSE]["drift"] <= 0.02
    assert {row["rows"] for row in rows.values()} == {68}
    events = rows[DENSE]["brief"]
    assert events is None or events.split(" of ")[0] == events.split(" of ")[1]
    assert any("frames carried" in note for note in report.notes)

    report.write_json(tmp_path / "ingest.json")
    table = read_ingests(tmp_path / "ingest.json")
    assert table is not None
    told = draw_ingests(table, tmp_path / "ingest.png").read_text()
    assert (tmp_path / "ingest.png").read_bytes().startswith(b"\x89PNG")
    assert [line.split(" | ")[0] for line in told.splitlines()[2:6]] == [
        f"| {way}" for way in (PLAIN, PLAIN_BF16, DENSE, DECODE_DENSE)
    ]
    assert f"| {rows[DENSE]['pictures']} |" in told
    (tmp_path / "other.json").write_text('{"rows": [{"way": "dense"}]}')
    assert read_ingests(tmp_path / "other.json") is None


def test_brief_events_are_counted_by_their_own_vectors() -> None:
    axes = np.eye(3, dtype=np.float32)
    dense = {(0, at): axes[1 if at == 2 else 0] for at in range(5)}
    assert list(end_to_end._brief(dense)) == [(0, 2)]
    assert end_to_end._own((0, 2), dense, dense)
    carried = dense | {(0, 2): axes[0]}
    assert not end_to_end._own((0, 2), carried, dense)


def test_an_unknown_way_is_refused(camera) -> None:
    with pytest.raises(UsageError, match="unknown way 'fast'"):
        run([camera], ways=("fast",))
