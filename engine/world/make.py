"""Clips as H.264 files, with `world.json` beside them that says everything about them."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.video.write import write_h264
from engine.world.clip import make_pool
from engine.world.render import render_frames
from engine.world.scene import Clip
from engine.world.splits import Split, check_split

FORMAT = 1


def make_world(
    directory: str | Path,
    split: Split,
    clips: int,
    seed: int,
    *,
    size: int = 224,
    crf: float = 20.0,
) -> Path:
    """Write `clips` clips of a split as `<name>.mp4`, and return the path of `world.json`.

    Captions are distinct within one call. Files that are there already are written anew.
    """
    check_split(split)
    if clips < 1:
        raise UsageError(f"clips {clips}; allowed: 1 or more")
    return write_world(directory, make_pool(split, clips, seed), split, seed, size=size, crf=crf)


def write_world(
    directory: str | Path,
    clips: Iterable[Clip],
    split: Split,
    seed: int,
    *,
    size: int = 224,
    crf: float = 20.0,
) -> Path:
    """Write given clips as `<name>.mp4`, and return the path of `world.json`."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    told = []
    for clip in clips:
        write_h264(folder / f"{clip.name}.mp4", render_frames(clip, size), clip.fps, crf=crf)
        told.append(annotation(clip))
    path = folder / "world.json"
    content = {"format": FORMAT, "split": split, "seed": seed, "clips": told}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def annotation(clip: Clip) -> dict[str, Any]:
    """Everything said about a clip, as JSON values."""
    return {
        "name": clip.name,
        "file": f"{clip.name}.mp4",
        "seed": clip.seed,
        "duration_seconds": clip.duration_seconds,
        "fps": clip.fps,
        "redundancy": clip.redundancy,
        "caption": clip.caption,
        "spans": [asdict(span) for span in clip.spans],
        "questions": [asdict(question) for question in clip.questions],
    }
