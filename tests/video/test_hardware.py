"""What of hardware decoding needs no hardware, and the rest where there is some."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from engine.errors import UsageError
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.hardware import decode_on_gpu, load_nvdec, pick, shown_times
from engine.video.sample import sample_frames, sample_times


@pytest.mark.parametrize("fps", [0.7, 2, 12.5, 25, 60])
def test_picks_what_the_other_decoder_samples(fps, clip) -> None:
    gops, times = index_gops(clip), sample_times(0, 2.4, fps)
    frames = decode_range(clip, 0, 9, gops=gops)
    expected = [(frame.number, frame.seconds) for frame in sample_frames(frames, times)]
    shown = shown_times(clip)
    assert len(shown) == 60
    assert [(number, shown[index]) for number, index in pick(shown, times)] == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(clip) -> None:
    with pytest.raises(UsageError, match="needs an NVIDIA GPU; allowed here: pyav"):
        load_nvdec()
    with pytest.raises(UsageError, match="nvdec"):
        next(decode_on_gpu(clip, sample_times(0, 1, 2)))


@pytest.mark.gpu
@pytest.mark.skipif(find_spec("PyNvVideoCodec") is None, reason="no PyNvVideoCodec")
def test_pictures_are_nearly_those_of_the_cpu(clip) -> None:
    gops, times = index_gops(clip), sample_times(0, 2.4, 5)
    frames = list(sample_frames(decode_range(clip, 0, 9, gops=gops), times))
    found = list(decode_on_gpu(clip, times))
    assert [frame.number for frame in found] == [frame.number for frame in frames]
    for one, other in zip(found, frames, strict=True):
        assert one.seconds == other.seconds
        assert np.abs(one.image.cpu().numpy().astype(int) - other.image).mean() < 2
