"""Decoding by the GPU's own decoder (NVDEC), for who asks for it; needs the extra `[gpu]`."""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from engine.errors import UnsupportedCodecError, UsageError
from engine.objects.address import Place, place_of
from engine.video.container import open_video, probe
from engine.video.gop import packet_pts, packets_of, time_base
from engine.video.sample import Instants
from engine.video.skip import CLOCK_SECONDS

PACKAGE = "PyNvVideoCodec"
BLOCK = 4  # frames decoded and resized at once: of 4K, half a gigabyte in float32


@dataclass(frozen=True, slots=True)
class DeviceFrame:
    """A sampled picture that never left the GPU."""

    number: int  # of the sampling instant
    seconds: float
    image: Tensor  # uint8 [H, W, 3] on the GPU, upright


def load_nvdec() -> ModuleType:
    """Import the decoder's package; raise UsageError saying what is missing."""
    if not torch.cuda.is_available():
        raise UsageError("decoder 'nvdec' needs an NVIDIA GPU; allowed here: pyav")
    try:
        return import_module(PACKAGE)
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]  # a driver that does not fit is told at length
        raise UsageError(
            f"decoder 'nvdec' needs {PACKAGE} ({reason}): install the extra [gpu], or use pyav"
        ) from error


def decode_on_gpu(
    path: str | Place,
    times: Instants,
    *,
    gpu: int = 0,
    shown: Sequence[float] | None = None,
    wanted: Sequence[tuple[int, int]] | None = None,
) -> Iterator[DeviceFrame]:
    """Yield the frame on screen at each instant, once each, as `sample_frames` does.

    Times come from the container's packets, so that they are the true ones. A file whose pictures
    the GPU counts otherwise, or cannot decode, raises UnsupportedCodecError. `shown` are the times
    of all its pictures, where they are known already. With `wanted` those pictures alone come, each
    given by a number and its place among all.
    """
    nvc, path = load_nvdec(), place_of(path)
    if not isinstance(path, Path):
        said = "the GPU's decoder reads files of this machine alone"
        raise UnsupportedCodecError(said, path=str(path))
    shown = shown_times(path) if shown is None else shown
    rotation = probe(path).rotation
    known = (*(kind for kind in vars(nvc).values() if _is_error(kind)), RuntimeError, ValueError)
    try:
        decoder = _own.decoder(nvc, path, gpu)
        if len(decoder) != len(shown):
            raise UnsupportedCodecError(
                f"{path.name} has {len(shown)} pictures, the GPU's decoder counts {len(decoder)}",
                path=str(path),
            )
        wanted = pick(shown, times) if wanted is None else wanted
        for start in range(0, len(wanted), BLOCK):
            block = wanted[start : start + BLOCK]
            frames = decoder.get_batch_frames_by_index([index for _, index in block])
            for (number, index), frame in zip(block, frames, strict=True):
                # the decoder uses its surfaces again, so the picture is copied out
                image = from_dlpack(frame).clone()
                yield DeviceFrame(number, shown[index], torch.rot90(image, rotation // 90))
    except known as error:
        _own.decoders.clear()
        raise UnsupportedCodecError(
            f"{path.name} cannot be decoded by the GPU: {error}", path=str(path)
        ) from error


class _Own(threading.local):
    """A thread's decoders, one for each GPU: beginning another takes longer than a short file."""

    def __init__(self) -> None:
        self.decoders: dict[int, Any] = {}

    def decoder(self, nvc: ModuleType, path: Path, gpu: int) -> Any:
        """Return the GPU's decoder, at the start of a file."""
        if gpu in self.decoders:
            self.decoders[gpu].reconfigure_decoder(str(path))
        else:
            self.decoders[gpu] = nvc.SimpleDecoder(
                str(path),
                gpu_id=gpu,
                use_device_memory=True,
                output_color_type=nvc.OutputColorType.RGB,
            )
        return self.decoders[gpu]


_own = _Own()


def shown_times(path: Place) -> list[float]:
    """Return the times of all pictures that are shown, rising, from the container's packets."""
    with open_video(path) as (container, stream):
        num, den = time_base(stream)
        found = [
            pts
            for packet in packets_of(container, stream)
            if not packet.is_discard and (pts := packet_pts(packet)) is not None
        ]
    return [pts * num / den for pts in sorted(found)]


def pick(shown: Sequence[float], times: Instants) -> list[tuple[int, int]]:
    """Return `(number, index)` of the picture on screen at each instant, each picture once."""
    picked: list[tuple[int, int]] = []
    number = times.first
    index = bisect_right(shown, times.seconds(number) + CLOCK_SECONDS) - 1
    while number < times.stop:
        following = times.stop
        if index + 1 < len(shown):
            following = times.at_or_after(shown[index + 1], number)
        if index >= 0 and following > number:
            picked.append((number, index))
        number, index = following, index + 1
    return picked


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)
