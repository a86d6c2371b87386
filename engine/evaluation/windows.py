"""A user's own videos as what training and calibration learn from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import NotFoundError, VideoError
from engine.evaluation.files import video_files
from engine.training.reusevit.frames import WHOLE, EachOf, Window
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.hints import codec_hints
from engine.video.sample import sample_frames, sample_times
from engine.vision.backbone.preprocess import Preprocessing, prepare


@dataclass(frozen=True, slots=True)
class FileFrames:
    """Windows decoded on the fly from the files below a folder; a file that fails is skipped.

    With `cue_side` their codec's cues come along, so many cells along a map.
    """

    folder: Path
    preprocessing: Preprocessing
    fps: float = 2.0
    threads: int = 2
    cue_side: int | None = None
    share: EachOf = WHOLE  # of the files

    def shared(self, share: EachOf) -> "FileFrames":
        """Return a share of the files, so that none is decoded twice."""
        return replace(self, share=share)

    def windows(self, span: int, epoch: int) -> Iterator[Window]:
        """Windows of `span` frames, each epoch starting elsewhere in every video."""
        found = False
        for number, path in enumerate(video_files(self.folder)):
            for window in self._stretches(path, span, epoch) if self.share.has(number) else ():
                found = True
                yield window
        if not found:
            begin = epoch * 5 % span
            raise NotFoundError(
                f"no video below {self.folder} has {span + begin} frames at {self.fps:g}/s, to take"
                f" {span} of"
            )

    def _stretches(self, path: Path, span: int, epoch: int) -> Iterator[Window]:
        try:
            frames = self._frames(path)
            list(islice(frames, epoch * 5 % span))
            while len(taken := list(islice(frames, span))) == span:
                cues = [each for _, each in taken if each is not None]
                pixels = torch.stack([each for each, _ in taken])
                yield Window(pixels, torch.stack(cues) if cues else None)
        except VideoError:
            return

    def _frames(self, path: Path) -> Iterator[tuple[Tensor, Tensor | None]]:
        gops = index_gops(path)
        start, stop = gops[0].start_seconds, gops[-1].stop_seconds
        times, threads = sample_times(start, stop, self.fps), self.threads
        decoded = decode_range(
            path, start, stop, gops=gops, threads=threads, looked=times.any_in,
            cues=self.cue_side is not None,
        )  # fmt: skip
        for frame in sample_frames(decoded, times):
            cues = None
            if self.cue_side is not None:
                maps = codec_hints(frame, self.cue_side, fit=self.preprocessing.mode)
                cues = torch.from_numpy(maps)
            yield prepare(frame.image, self.preprocessing), cues
