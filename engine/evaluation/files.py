"""Real video files as a tower's input."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from engine.errors import VideoError
from engine.evaluation.encodings import Pixels
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.sample import sample_frames, sample_times
from engine.vision.backbone.preprocess import Preprocessing, prepare


def sample_file(
    path: Path, fps: float, preprocessing: Preprocessing, *, threads: int = 2
) -> Pixels:
    """Decode a file and prepare the frames on screen at `fps` instants a second."""
    gops = index_gops(path)
    start, stop = gops[0].start_seconds, gops[-1].stop_seconds
    times = sample_times(start, stop, fps)
    frames = decode_range(path, start, stop, gops=gops, threads=threads, looked=times.any_in)
    kept = list(sample_frames(frames, times))
    if not kept:
        raise VideoError("no frame can be decoded", path=str(path))
    return Pixels(
        path.stem,
        torch.stack([prepare(frame.image, preprocessing) for frame in kept]),
        np.array([frame.seconds - start for frame in kept]),
        stop - start,
    )


def sample_files(
    files: Iterator[tuple[str, Path]],
    fps: float,
    preprocessing: Preprocessing,
    *,
    failed: list[tuple[str, str]],
) -> Iterator[Pixels]:
    """Sample named files; one that cannot be used goes to `failed` with its reason."""
    for name, path in files:
        try:
            sampled = sample_file(path, fps, preprocessing)
        except VideoError as error:
            failed.append((name, str(error)))
            continue
        yield Pixels(name, sampled.pixels, sampled.seconds, sampled.duration_seconds)


def video_files(folder: Path, suffixes: Sequence[str] = ()) -> list[Path]:
    """Files below a folder in order of name, only those with one of `suffixes` if any are given."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in found if not suffixes or path.suffix.lower() in suffixes]
