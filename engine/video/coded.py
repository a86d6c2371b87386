"""What packets alone say of a video's pictures: when each is shown, and how many bytes it took."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import UnsupportedCodecError
from engine.objects.address import Place, place_of
from engine.video.container import open_video
from engine.video.gop import packet_pts, packets_of, time_base
from engine.video.needed import ENTERING


@dataclass(frozen=True, slots=True)
class CodedPictures:
    """The pictures of a video that are shown, in that order."""

    seconds: NDArray[np.float64]
    size_bytes: NDArray[np.int64]
    key: NDArray[np.bool_]


def read_coded(path: str | Place) -> CodedPictures:
    """Read all packets of a video and decode none.

    Raises UnsupportedCodecError where they do not say which pictures there are: a codec whose
    decoder cannot begin anew within a file, packets without times of their own, or two at one time.
    """
    path = place_of(path)
    with open_video(path) as (container, stream):
        num, den = time_base(stream)
        name = stream.codec_context.name
        if name not in ENTERING:
            raise _unusable(path, f"{name} is read in full; allowed: {', '.join(ENTERING)}")
        found = [
            (packet_pts(packet), packet.size, packet.is_keyframe)
            for packet in packets_of(container, stream)
            if not packet.is_discard
        ]
    known = sorted((pts, size, key) for pts, size, key in found if pts is not None)
    times = np.array([pts for pts, _, _ in known], np.int64)
    if not len(known) or len(known) < len(found) or (np.diff(times) == 0).any():
        raise _unusable(path, "its packets have no times of their own")
    return CodedPictures(
        np.array([int(pts) * num / den for pts in times], np.float64),
        np.array([size for _, size, _ in known], np.int64),
        np.array([key for _, _, key in known], np.bool_),
    )


def _unusable(path: Place, reason: str) -> UnsupportedCodecError:
    return UnsupportedCodecError(reason, path=str(path))
