"""What a model is tried on: frames of a user's videos, or of made-up clips."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import NotFoundError, VideoError
from engine.evaluation.files import video_files
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.sample import sample_frames, sample_times
from engine.vision.backbone.preprocess import Preprocessing, prepare
from engine.world.clip import make_pool
from engine.world.render import render_at

Picture = NDArray[np.uint8]
FPS = 2.0
_KEPT = 2  # pictures of each stream that are kept as they were decoded
_SEED = 16

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TriedFrames:
    """Streams as the tower takes them, and some of their pictures as they are."""

    pictures: tuple[Picture, ...]  # [H, W, 3]
    streams: tuple[Tensor, ...]  # uint8 [F, 3, S, S] each, or of clips [F, T, 3, S, S]
    of: str  # where they come from

    @property
    def count(self) -> int:
        """How many frames there are."""
        return sum(len(stream) for stream in self.streams)


def gather(
    videos: Path | None, preprocessing: Preprocessing, *, streams: int, frames: int, tell: Tell
) -> TriedFrames:
    """Take so many frames of so many videos, or of made-up clips where no folder is given.

    A file that cannot be read is told of and left out.
    """
    found = _made_up(frames) if videos is None else _read(videos, frames, tell)
    pictures: list[Picture] = []
    stacked: list[Tensor] = []
    for taken in islice(found, streams):
        pictures += taken[:: max(1, len(taken) // _KEPT)][:_KEPT]
        stacked.append(_rows([prepare(each, preprocessing) for each in taken], preprocessing))
    if not stacked:
        raise NotFoundError(f"no video with two frames at {FPS:g}/s below {videos}")
    of = f"made-up clips, seed {_SEED}" if videos is None else str(videos)
    return TriedFrames(tuple(pictures), tuple(stacked), of)


def _rows(pixels: list[Tensor], preprocessing: Preprocessing) -> Tensor:
    """What vectors are of: pictures, or the clips that begin with each; the last picture stays."""
    held, last = preprocessing.pictures, len(pixels) - 1
    if held == 1:
        return torch.stack(pixels)
    clips = [[pixels[min(at + n, last)] for n in range(held)] for at in range(len(pixels))]
    return torch.stack([torch.stack(clip) for clip in clips])


def _read(folder: Path, frames: int, tell: Tell) -> Iterator[list[Picture]]:
    if not folder.is_dir():
        raise NotFoundError(f"no folder {str(folder)!r} of videos")
    for path in video_files(folder):
        try:
            gops = index_gops(path)
            start = gops[0].start_seconds
            stop = min(gops[-1].stop_seconds, start + frames / FPS)
            times = sample_times(start, stop, FPS)
            decoded = decode_range(path, start, stop, gops=gops, looked=times.any_in)
            taken = [frame.image for frame in sample_frames(decoded, times)]
        except VideoError as error:
            tell(f"left out: {error}")
            continue
        if len(taken) > 1:
            yield taken


def _made_up(frames: int) -> Iterator[list[Picture]]:
    for clip in make_pool("test", 1_000, seed=_SEED):
        count = min(frames, int(clip.duration_seconds * FPS))
        yield [render_at(clip, number / FPS) for number in range(count)]
