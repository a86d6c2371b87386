"""What the audits of a video say of it, over all of its streams."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.vision.bounded.whole import AuditedBlock, AuditedVideo


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
