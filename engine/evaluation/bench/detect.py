"""How well a detector finds things of the made-up world, dense and by rollout-guided pruning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import UsageError
from engine.evaluation.detection import Boxes, JudgedBoxes, interval, judge, mean_precision
from engine.evaluation.report import Cell, Report
from engine.video.gop import index_gops
from engine.video.sample import get_frames_at
from engine.video.write import write_h264
from engine.vision.backbone.dense import DenseDetector, head_macs
from engine.vision.detect import Detector, Objects, choose, load_detector
from engine.vision.rollout.fused_windows import roll_windows
from engine.vision.rollout.windows import WindowedRollout, covered, windowed_macs
from engine.world.boxes import boxes_at
from engine.world.draw import Draw
from engine.world.render import render_planes
from engine.world.scene import TICKS, WorldScript
from engine.world.script import make_script
from engine.world.splits import COLOURS, SHAPES, check_split

CODED, SIZE = 12.0, 224  # frames a second of the files, and their edge
SECONDS = 6  # of a clip
SEEN = 0.3  # share of a thing that has to be seen for it to count


@dataclass(frozen=True, slots=True)
class _Clip:
    pictures: list[NDArray[np.uint8]]
    truth: list[Boxes]


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 120,
    seed: int = 7,
    split: str = "test",
    fps: float = 4.0,
    keep: Sequence[float] = (0.4, 0.25, 0.15),
    every: int = 12,
) -> Report:
    """Write clips as H.264, read them as a store does, and compare boxes with the scripts."""
    loaded = load_detector(model, device=device)
    tower = loaded.tower
    things = {f"{colour} {shape}" for colour in COLOURS for shape in SHAPES}
    if strange := sorted(things - set(loaded.labels)):
        raise UsageError(f"{loaded.space.name} knows no label {strange[0]!r} of the made-up world")
    if keep and not isinstance(tower, DenseDetector):
        raise UsageError(f"{loaded.space.name} is no ViTDet detector; allowed: without --keep")
    with TemporaryDirectory() as folder:
        made = list(_coded(Path(folder), clips, seed, split, fps))
    dense = _judged(made, [loaded.detect(clip.pictures) for clip in made], loaded)
    whole = _macs(tower, None, every, made) if isinstance(tower, DenseDetector) else None
    rows: list[tuple[Cell, ...]] = [_row("dense", None, 1.0, dense, clips, seed, None)]
    for share in keep:
        assert isinstance(tower, DenseDetector)
        runs = roll_windows(tower.tower, share, every)
        judged = _judged(made, [_pruned(loaded, runs, clip) for clip in made], loaded)
        saved = whole / _macs(tower, runs.kept, every, made) if whole else None
        rows.append(_row("rgtp", share, saved, judged, clips, seed, dense))
    count = sum(len(clip.pictures) for clip in made)
    notes = [
        f"{SECONDS} s of H.264, {SIZE} pixels, {fps:g} of {CODED:g} frames a second, {count} in"
        f" all; what shows less than {SEEN:.0%} of itself does not count; 95 % intervals by clips",
    ]
    if whole is not None:
        notes.append(f"{whole / 1e9:.3g} billion multiply-adds a frame; rgtp: full every {every}")
    return Report(
        title=f"objects of {loaded.space.key}, {clips} clips of the {split} split, seed {seed}",
        columns=("forward", "keep", "MACs ×", "mAP50", "from", "to", "of dense", "at least", "to "),
        rows=rows,
        notes=tuple(notes),
        data={"seed": seed, "split": split, "fps": fps, "every": every},
    )


def _coded(folder: Path, clips: int, seed: int, split: str, fps: float) -> Iterator[_Clip]:
    draw = Draw("detect", seed)
    for _ in range(clips):
        script = make_script(draw.below(1 << 40), check_split(split), SECONDS * TICKS, None)
        path = folder / "clip.mp4"
        write_h264(path, _frames(script), CODED)
        wanted = [number / fps for number in range(int(SECONDS * fps))]
        shown = dict(get_frames_at(path, wanted, gops=index_gops(path)))
        ticks = [round(shown[at].seconds * CODED) * TICKS / CODED for at in range(len(wanted))]
        yield _Clip(
            [shown[at].image for at in range(len(wanted))],
            [_truth(script, round(tick)) for tick in ticks],
        )


def _frames(script: WorldScript) -> Iterator[NDArray[np.uint8]]:
    for number in range(round(SECONDS * CODED)):
        planes = render_planes(script, round(TICKS * number / CODED), SIZE)
        yield np.ascontiguousarray(planes.transpose(1, 2, 0))


def _truth(script: WorldScript, tick: int) -> Boxes:
    there = [box for box in boxes_at(script, tick, SIZE) if box.visible > 0]
    return Boxes(
        tuple(box.label for box in there),
        np.array([box.sides for box in there], np.float64).reshape(-1, 4),
        np.array([float(box.visible >= SEEN) for box in there]),
    )


def _judged(clips: Sequence[_Clip], found: Sequence[Objects], model: Detector) -> JudgedBoxes:
    frames = []
    for number, (clip, objects) in enumerate(zip(clips, found, strict=True)):
        for at, truth in enumerate(clip.truth):
            real = (objects.scores[at] > 0).numpy()
            labels = objects.labels[at].numpy()[real].tolist()
            own = Boxes(
                tuple(model.labels[label] for label in labels),
                objects.boxes[at].numpy()[real].astype(np.float64),
                objects.scores[at].numpy()[real].astype(np.float64),
            )
            frames.append((number, own, truth))
    return judge(frames)


@torch.inference_mode()
def _pruned(model: Detector, runs: WindowedRollout, clip: _Clip) -> Objects:
    """Detect in the frames of one clip in order; where a thing was is looked at more closely."""
    tower = model.tower
    assert isinstance(tower, DenseDetector)
    like, side = next(tower.parameters()), tower.config.tower.side
    runs.begin()
    found = []
    for picture in clip.pictures:
        values = model.fitting.fit(picture)[None].to(like.device, like.dtype)
        scores, boxes = tower.name(runs.step(values))
        one = choose(scores.float().cpu(), boxes.float().cpu(), model.one_label)
        runs.look(covered(one.boxes, one.scores, side).to(like.device))
        found.append(one)
    joined: list[Tensor] = [
        torch.cat(part) for part in zip(*(o.parts() for o in found), strict=True)
    ]
    return Objects(*joined)


def _macs(tower: DenseDetector, kept: int | None, every: int, clips: Sequence[_Clip]) -> float:
    """Mean multiply-accumulates of a frame, the full ones among them."""
    shape, total, count = tower.config, 0, 0
    for clip in clips:
        for at in range(len(clip.pictures)):
            full = kept is None or at == 0 or (every > 0 and at % every == 0)
            total += windowed_macs(shape.tower, None if full else kept) + head_macs(shape)
            count += 1
    return total / max(1, count)


def _row(
    name: str, keep: float | None, saved: float | None, judged: JudgedBoxes, clips: int, seed: int,
    dense: JudgedBoxes | None,
) -> tuple[Cell, ...]:  # fmt: skip
    own = (mean_precision(judged), *interval(judged, clips, seed))
    if dense is None:
        return name, keep, saved, *own, 1.0, None, None
    share = own[0] / max(mean_precision(dense), 1e-9)
    return name, keep, saved, *own, share, *interval(judged, clips, seed, dense)
