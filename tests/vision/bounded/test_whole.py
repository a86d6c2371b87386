"""What the audits of a video say of it, over all of its streams."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.vision.bounded.run import SteeredBlock, SteeredStream, draw
from engine.vision.bounded.whole import AuditedBlock, AuditedVideo
from engine.vision.streaming.strategy import Encoded


@given(
    st.lists(
        st.tuples(st.integers(1, 80), st.lists(st.floats(0, 0.2), min_size=1, max_size=6)),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 400),
)
@settings(max_examples=60, deadline=None)
def test_the_upper_bound_of_a_video_is_that_of_its_weighted_audits(
    given_blocks: list[tuple[int, list[float]]], more: int
) -> None:
    blocks = [AuditedBlock(0, frames, tuple(drifts)) for frames, drifts in given_blocks]
    frames = sum(block.frames for block in blocks)
    video = AuditedVideo(frames + more, 0.02, 0.95)
    upper = video.upper(blocks, frames + more)
    mean = sum(np.mean(block.drifts) * block.frames for block in blocks) / (frames + more)
    assert upper >= mean - 1e-12
    assert video.upper([*blocks, AuditedBlock(0, 0, (0.2,))], frames + more) == upper
    unseen = video.upper([*blocks, AuditedBlock(0, 10, ())], frames + more)
    assert unseen >= upper  # frames that nobody looked at are taken to drift like the others


@given(st.integers(1, 1000), st.integers(1, 1000))
@settings(max_examples=60, deadline=None)
def test_what_is_borrowed_from_frames_to_come_is_given_back(total: int, done: int) -> None:
    video = AuditedVideo(total, 0.02, 0.95)
    limit = video.limit(done)
    assert limit * done <= 0.02 * max(total, done) * (1 + 1e-9)
    assert (limit > 0.02) == (done < total)


@pytest.mark.parametrize(("total", "wanted"), [(80, [2, 2]), (160, [3, 1])])
def test_one_frame_says_little_of_a_block_that_may_have_changed(
    total: int, wanted: list[int]
) -> None:
    pixels = torch.zeros(80, 3, 1, 1, dtype=torch.uint8)
    video = AuditedVideo(total, 0.02, 0.95)
    run = SteeredStream(pixels, None, video, np.random.default_rng(0), 16)
    run.company = [run]
    drawn = []
    for start in (0, 16):
        zeros = torch.zeros(16)
        encoded = Encoded(torch.ones(16, 2), zeros.int()[:, None], zeros.double(), zeros > 0, None)
        block = SteeredBlock.of(start, 0, encoded)
        frames = draw(run, [block], 2, first=3)
        assert frames == sorted(set(frames))
        assert all(start <= frame < start + 16 for frame in frames)
        block.drifts = dict.fromkeys(frames, 0.0)
        run.blocks.append(block)
        drawn.append(len(frames))
    assert drawn == wanted
