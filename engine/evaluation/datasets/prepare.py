"""A dataset's videos as the published comparisons take them: sampled, square, coded anew."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import av
import numpy as np

from engine.errors import UsageError, VideoError
from engine.evaluation.report import Report
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.sample import check_fps, sample_frames, sample_times
from engine.video.write import H264, Image, write_h264

log = logging.getLogger(__name__)
SUFFIX = ".mp4"
BLOCK = 16  # pixels along a macroblock; a cell of the cues is a patch where a side has as many
Outcome = Literal["prepared", "known", "failed", "missing"]


@dataclass(frozen=True, slots=True)
class CodingRecipe:
    """How a video is coded anew: as for the published codec cues unless told otherwise.

    Of every four frames the last is an anchor, whatever the content: B-frames stand wherever they
    may, and no scene cut begins a group of pictures.
    """

    fps: float = 2.0
    side: int = 256  # pixels; 16 for each patch of a ViT-L/14
    h264: H264 = field(
        default_factory=lambda: H264(
            bframes=3,
            gop=250,
            crf=22.0,
            preset="slow",
            more={"sc_threshold": "0", "refs": "2", "me_method": "dia", "subq": "0"},
        )
    )

    def __post_init__(self) -> None:
        check_fps(self.fps)
        if self.side < BLOCK or self.side % BLOCK:
            raise UsageError(f"side must be a multiple of {BLOCK} pixels, got {self.side}")


@dataclass(frozen=True, slots=True)
class CodedVideo:
    """What became of one video."""

    name: str
    outcome: Outcome
    frames: int = 0
    reason: str = ""


def prepare_dataset(
    names: Sequence[str], files: Iterable[tuple[str, Path]], out: Path, recipe: CodingRecipe
) -> Iterator[CodedVideo]:
    """Code each video anew, `out/NAME.mp4`; what is there already and whole is kept.

    Args:
        names: videos that are annotated; those without a file come last, as missing.
        files: name and file of those that are there.
        out: the folder of what is made.
        recipe: how.
    """
    out.mkdir(parents=True, exist_ok=True)
    left = dict.fromkeys(names)
    for name, path in files:
        left.pop(name, None)
        try:
            yield _prepare(name, path, out / f"{name}{SUFFIX}", recipe)
        except VideoError as error:
            yield CodedVideo(name, "failed", reason=str(error))
    yield from (CodedVideo(name, "missing") for name in left)


def _prepare(name: str, path: Path, target: Path, recipe: CodingRecipe) -> CodedVideo:
    if target.exists():
        if target.samefile(path):
            raise UsageError(f"--target {target.parent} holds the videos; allowed: another folder")
        try:
            return CodedVideo(name, "known", check_prepared(target, recipe))
        except VideoError:
            log.info("%s is of another recipe or damaged; made anew", target)
    unfinished = target.with_name(f".{target.name}.part{SUFFIX}")
    try:
        written = write_h264(unfinished, _sampled(path, recipe), recipe.fps, settings=recipe.h264)
        found = check_prepared(unfinished, recipe)
        if found != written:
            raise VideoError(f"{found} of {written} frames can be read back", path=str(path))
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return CodedVideo(name, "prepared", written)


def check_prepared(path: Path, recipe: CodingRecipe) -> int:
    """Number of frames of a prepared file; one of another kind, or a damaged one, is an error."""
    gops = index_gops(path)
    frames = list(decode_range(path, gops[0].start_seconds, gops[-1].stop_seconds, gops=gops))
    if not frames:
        raise VideoError("no frame can be decoded", path=str(path))
    if frames[0].image.shape != (recipe.side, recipe.side, 3):
        raise VideoError(f"not {recipe.side}x{recipe.side}", path=str(path))
    times = np.array([frame.seconds for frame in frames])
    due = times[0] + np.arange(len(times)) / recipe.fps
    if not np.allclose(times, due, atol=1e-3):
        raise VideoError(f"not {recipe.fps:g} frames a second", path=str(path))
    return len(frames)


def _sampled(path: Path, recipe: CodingRecipe) -> Iterator[Image]:
    gops = index_gops(path)
    start, stop = gops[0].start_seconds, gops[-1].stop_seconds
    times = sample_times(start, stop, recipe.fps)
    decoded = decode_range(path, start, stop, gops=gops, threads=2, looked=times.any_in)
    found = False
    for frame in sample_frames(decoded, times):
        found = True
        yield square(frame.image, recipe.side)
    if not found:
        raise VideoError("no frame can be decoded", path=str(path))


def square(image: Image, side: int) -> Image:
    """Cut the centre square out of a picture, and scale it."""
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    cut = np.ascontiguousarray(image[top : top + edge, left : left + edge])
    scaled = av.VideoFrame.from_ndarray(cut, format="rgb24").reformat(
        width=side, height=side, interpolation="BICUBIC"
    )
    return scaled.to_ndarray(format="rgb24")


def tabulate_prepared(found: Sequence[CodedVideo], out: Path, recipe: CodingRecipe) -> Report:
    """How many came to what, and each that failed or is missing."""
    kinds: tuple[Outcome, ...] = ("prepared", "known", "failed", "missing")
    rows = [
        [kind, len(those), sum(each.frames for each in those)]
        for kind in kinds
        if (those := [each for each in found if each.outcome == kind])
    ]
    notes = [
        f"{out}: {recipe.fps:g} frames/s, {recipe.side}x{recipe.side}, {recipe.h264.bframes}"
        " B-frames, no scene cuts",
        *(f"failed {each.name}: {each.reason}" for each in found if each.outcome == "failed"),
    ]
    data = {"videos": [{"name": each.name, "outcome": each.outcome} for each in found]}
    return Report("Prepared", ("outcome", "videos", "frames"), rows, tuple(notes), data)
