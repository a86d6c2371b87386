"""Clips as files: H.264 with everything said about them beside."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import UsageError
from engine.world import make_clip, render_at
from engine.world.make import make_world


def test_files_hold_what_the_scripts_say(tmp_path: Path) -> None:
    path = make_world(tmp_path / "world", "test", 2, seed=3, size=64)
    told = json.loads(path.read_text())
    assert (told["split"], told["seed"], len(told["clips"])) == ("test", 3, 2)
    for entry in told["clips"]:
        clip = make_clip(entry["seed"], "test")
        assert entry["caption"] == clip.caption
        assert len(entry["questions"]) == len(clip.questions)
        with av.open(str(path.parent / entry["file"])) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.codec_context.has_b_frames
            images = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert len(images) == round(clip.duration_seconds * clip.fps)
        middle = len(images) // 2
        drawn = render_at(clip, middle / clip.fps, 64)
        assert np.abs(images[middle].astype(int) - drawn).mean() < 12


def test_no_clips_fail(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clips 0; allowed: 1 or more"):
        make_world(tmp_path, "test", 0, seed=1)
