"""Real video files as a tower's input."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from engine.errors import VideoError
from engine.evaluation.encodings import Pixels
from engine.video.decode import Frame, decode_range
from engine.video.gop import index_gops
from engine.video.hints import codec_hints
from engine.video.sample import sample_frames, sample_times
from engine.vision.backbone.preprocess import Preprocessing, prepare


def sample_file(
    path: Path,
    fps: float,
    preprocessing: Preprocessing,
    *,
    threads: int = 2,
    cue_side: int | None = None,
    most: int | None = None,
) -> Pixels:
    """Decode a file and prepare the frames on screen at `fps` instants a second, the first `most`.

    With `cue_side` what its codec says of them, too, so many cells along a map.
    """
    gops = index_gops(path)
    start, stop = gops[0].start_seconds, gops[-1].stop_seconds
    if most is not None:
        stop = min(stop, start + most / fps)
    times = sample_times(start, stop, fps)
    frames = decode_range(
        path, start, stop, gops=gops, threads=threads, looked=times.any_in,
        cues=cue_side is not None,
    )  # fmt: skip
    kept = list(sample_frames(frames, times))
    if not kept:
        raise VideoError("no frame can be decoded", path=str(path))
    return Pixels(
        path.stem,
        torch.stack([prepare(frame.image, preprocessing) for frame in kept]),
        np.array([frame.seconds - start for frame in kept]),
        stop - start,
        None if cue_side is None else _cues(kept, cue_side, preprocessing),
    )


def _cues(frames: Sequence[Frame], side: int, preprocessing: Preprocessing) -> torch.Tensor:
    maps = [codec_hints(frame, side, fit=preprocessing.mode) for frame in frames]
    return torch.from_numpy(np.stack(maps))


def sample_files(
    files: Iterator[tuple[str, Path]],
    fps: float,
    preprocessing: Preprocessing,
    *,
    failed: list[tuple[str, str]],
    cue_side: int | None = None,
) -> Iterator[Pixels]:
    """Sample named files; one that cannot be used goes to `failed` with its reason."""
    for name, path in files:
        try:
            sampled = sample_file(path, fps, preprocessing, cue_side=cue_side)
        except VideoError as error:
            failed.append((name, str(error)))
            continue
        yield replace(sampled, name=name)


def video_files(folder: Path, suffixes: Sequence[str] = ()) -> list[Path]:
    """Files below a folder in order of name, only those with one of `suffixes` if any are given."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in found if not suffixes or path.suffix.lower() in suffixes]


def named_apart(files: Sequence[Path], failed: list[tuple[str, str]]) -> list[tuple[str, Path]]:
    """Name files by their stem; of two of one name the second goes to `failed`."""
    first: dict[str, Path] = {}
    for path in files:
        first.setdefault(path.stem, path)
    later = [path for path in files if first[path.stem] is not path]
    failed += [(path.name, f"{first[path.stem]} has that name, too") for path in later]
    return list(first.items())
