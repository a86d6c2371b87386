"""What a video's first sound stream plays, as one row of samples on the video's own timeline."""

from fractions import Fraction
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from engine.objects.address import Place
from engine.video.container import open_video

RATE: Final = 16_000  # samples a second, as models of speech take them
_LATE: Final = 0.05  # seconds between what follows on and a gap


def read_sound(path: Place) -> tuple[float, NDArray[np.float32]] | None:
    """Return when the sound begins and its samples, mono; None for a video without sound.

    Gaps of more than a twentieth of a second are silence, so that a sample's place is its time.
    """
    with open_video(path) as (container, _):
        if not container.streams.audio:
            return None
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        parts: list[NDArray[np.float32]] = []
        begin, length = 0.0, 0
        for frame in container.decode(container.streams.audio[0]):
            at = None if frame.pts is None else float(frame.pts * (frame.time_base or Fraction(0)))
            if at is not None and not parts:
                begin = at
            gap = 0.0 if at is None else at - begin - length / RATE
            if gap > _LATE:
                parts.append(np.zeros(round(gap * RATE), np.float32))
                length += len(parts[-1])
            frame.pts = None
            for made in resampler.resample(frame):
                parts.append(_samples(made))
                length += len(parts[-1])
        parts += map(_samples, resampler.resample(None))
    return (begin, np.concatenate(parts)) if parts else None


def _samples(made: av.AudioFrame) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = made.to_ndarray().reshape(-1).astype(np.float32)
    return samples
