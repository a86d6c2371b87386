"""How much time run-length tokens save a video model, in inference and in a step of training."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import UsageError
from engine.evaluation.report import Cell, Report
from engine.vision.backbone.video import VideoConfig, VideoTower, sine_positions
from engine.vision.model import pick_device
from engine.vision.runlength.joint import RunLengthVideo, video_macs

TOWERS = {
    "B/16": VideoConfig(12, 768, 12, 3072, 16, 2, 224, 16, 400),
    "Ti/8": VideoConfig(6, 128, 4, 512, 8, 2, 64, 8, 9),  # of the shape that ships
}
WARM, TRAINED = 3, 6  # runs before any is timed, and timed steps of training


def run(
    *,
    tower: str = "B/16",
    device: str = "auto",
    clips: int = 32,
    keep: Sequence[float] = (1.0, 0.7, 0.5, 0.3),
    repeats: int = 10,
    compiled: bool = True,
) -> Report:
    """Time packed clips with random masks beside dense in the same run; weights are random.

    The first step of a clip is always whole, which counts as kept; fewer of the others are.
    """
    if tower not in TOWERS:
        raise UsageError(f"tower {tower!r}; allowed: {', '.join(TOWERS)}")
    config, place = TOWERS[tower], pick_device(device)
    if least := next((share for share in keep if not 1 / config.steps <= share <= 1), None):
        raise UsageError(f"keep {least:g}; allowed: {1 / config.steps:g} (one step of all) to 1")
    made = _random(config).to(place, torch.bfloat16 if place.type == "cuda" else torch.float32)
    generator = torch.Generator().manual_seed(0)
    size = (clips, config.num_frames, 3, config.image_size, config.image_size)
    pixels = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator).to(place)
    classes = torch.randint(0, config.classes, (clips,), generator=generator).to(place)
    runs = RunLengthVideo(made, compiled=compiled)
    dense = torch.compile(made) if compiled else made

    def clock(forward: Callable[[], Tensor]) -> tuple[float, float]:
        with torch.inference_mode():
            inference = _milliseconds(forward, repeats, place)

        def step() -> None:
            made.zero_grad(set_to_none=True)
            F.cross_entropy(forward().float(), classes).backward()

        return inference, _milliseconds(step, TRAINED, place)

    whole = clock(lambda: dense(made.normalise(pixels)))
    rows: list[tuple[Cell, ...]] = [("dense", 1.0, 1.0, whole[0], 1.0, whole[1], 1.0)]
    for share in keep:
        kept = torch.rand(clips, config.steps, config.side, config.side, generator=generator)
        later = (share * config.steps - 1) / (config.steps - 1)
        mask = (kept < later).to(place)
        mask[:, 0] = True
        counts = mask.flatten(1).sum(1).tolist()
        macs = sum(video_macs(config, count) for count in counts) / clips
        took = clock(lambda mask=mask: runs.score(pixels, mask))  # type: ignore[misc]
        times = video_macs(config, config.tokens) / macs
        rows.append(
            (
                *("packed", sum(counts) / clips / config.tokens, times),
                *(took[0], whole[0] / took[0], took[1], whole[1] / took[1]),
            )
        )
    how = "under torch.compile" if compiled else "not compiled"
    return Report(
        title=f"run-length tokens, {tower}, {clips} clips of {config.num_frames} frames",
        columns=("forward", "kept", "MACs ×", "ms", "×", "ms a step", "× a step"),
        rows=rows,
        notes=(
            f"random weights and masks, {made.position.dtype} on {place}; both are {how}; "
            f"medians of {repeats} forwards and {TRAINED} steps",
        ),
    )


def _random(config: VideoConfig) -> VideoTower:
    torch.manual_seed(0)
    tower = VideoTower(config)
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    tower.position.data = sine_positions(config.tokens, config.width)
    return tower


def _milliseconds(work: Callable[[], object], repeats: int, place: torch.device) -> float:
    took = []
    for at in range(WARM + repeats):
        begun = perf_counter()
        work()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        if at >= WARM:
            took.append(perf_counter() - begun)
    return 1e3 * median(took)
