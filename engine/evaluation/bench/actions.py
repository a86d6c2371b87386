"""How often an action model is right: coded clips of the made-up world in which one thing moves."""

from collections.abc import Iterator
from math import ceil, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import UsageError
from engine.evaluation.report import Report
from engine.video.gop import index_gops
from engine.video.sample import get_frames_at
from engine.video.write import write_h264
from engine.vision.action import ActionModel, load_action_model
from engine.vision.backbone.factorised import FactorisedTower, clip_macs
from engine.vision.backbone.preprocess import prepare
from engine.vision.runlength.joint import RunLengthVideo, video_macs
from engine.world.action import DURATION, LABELS, ActionClip, make_action
from engine.world.draw import Draw
from engine.world.render import render_planes

CODED, SIZE = 12.0, 224  # frames a second of the files, and their edge
Z = 1.96  # of a 95 % interval


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 450,
    seed: int = 7,
    threshold: float | None = None,
) -> Report:
    """Write clips of the `test` split as H.264, read them as a store does, and classify them."""
    loaded = load_action_model(model, device=device)
    strange = sorted(set(LABELS.values()) - set(loaded.labels))
    if strange:
        raise UsageError(f"{loaded.space.name} knows no label {strange[0]!r} of the made-up world")
    draw = Draw("actions", seed)
    made = [make_action(draw.below(1 << 40), "test") for _ in range(clips)]
    with TemporaryDirectory() as folder:
        pixels = torch.stack([_coded(Path(folder), clip, loaded, draw) for clip in made])
    found = loaded.classify(pixels, threshold=threshold).argmax(1).tolist()
    right = np.array(
        [loaded.labels[at] == clip.label for at, clip in zip(found, made, strict=True)]
    )
    rows = [("all", clips, *_share(right))]
    for motion, label in LABELS.items():
        own = np.array([clip.motion == motion for clip in made])
        if own.any():
            rows.append((label, int(own.sum()), *_share(right[own])))
    return Report(
        title=f"actions of {loaded.space.key}, {clips} clips of the test split, seed {seed}",
        columns=("label", "clips", "right", "from", "to"),
        rows=rows,
        notes=(
            f"one thing moves, others stay still; {loaded.seconds:g} s of H.264, {SIZE} pixels, "
            f"{CODED:g} frames a second; 95 % intervals (Wilson)",
            _cost(loaded, pixels, threshold),
        ),
        data={"seed": seed, "threshold": threshold},
    )


def _coded(folder: Path, clip: ActionClip, model: ActionModel, draw: Draw) -> Tensor:
    """Frames of a clip as the model takes them, `[F, 3, S, S]`, out of a file."""
    start = draw.below(DURATION - round(1000 * model.seconds))
    path = folder / "clip.mp4"
    write_h264(path, _frames(clip, start, ceil(CODED * model.seconds)), CODED)
    wanted = [number / model.fps for number in range(model.tower.config.num_frames)]
    shown = dict(get_frames_at(path, wanted, gops=index_gops(path)))
    return torch.stack([prepare(shown[at].image, model.preprocessing) for at in range(len(wanted))])


def _frames(clip: ActionClip, start: int, count: int) -> Iterator[NDArray[np.uint8]]:
    for number in range(count):
        planes = render_planes(clip.script, start + round(1000 * number / CODED), SIZE)
        yield np.ascontiguousarray(planes.transpose(1, 2, 0))


def _share(right: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Share that is right, and its interval."""
    count, share = len(right), float(right.mean())
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return share, middle - half, middle + half


def _cost(model: ActionModel, pixels: Tensor, threshold: float | None) -> str:
    tower = model.tower
    if isinstance(tower, FactorisedTower):
        return f"{clip_macs(tower.config) / 1e9:.3g} billion multiply-adds a clip"
    config = tower.config
    dense = video_macs(config, config.tokens)
    if threshold is None:
        return f"{dense / 1e9:.3g} billion multiply-adds a clip"
    found = RunLengthVideo(tower, threshold).classify(pixels)
    kept, macs = float(found.kept.double().mean()) / config.tokens, float(found.macs.mean())
    return (
        f"run-length tokens at {threshold:g}: {kept:.1%} of the tokens kept, {dense / macs:.2f} × "
        "fewer multiply-adds than dense"
    )
