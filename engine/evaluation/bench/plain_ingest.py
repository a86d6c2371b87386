"""What a competent user writes without us: PyAV in a thread, batches, one Parquet file."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.vision.backbone.preprocess import Preprocessing, prepare

Forward = Callable[[Tensor], Tensor]  # bytes [n, 3, S, S] to unit vectors [n, E]
AHEAD = 128  # frames that wait for the tower


@dataclass(slots=True)
class PlainResult:
    """What the loop did."""

    pictures: int = 0
    decode_seconds: float = 0.0
    encode_seconds: float = 0.0
    vectors: dict[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict)


def plain_ingest(
    files: Sequence[Path],
    out: Path,
    forward: Forward,
    preprocessing: Preprocessing,
    *,
    fps: float,
    batch: int,
) -> PlainResult:
    """Sample, embed and write all files, decoding with as many threads as libav wants."""
    done, line = PlainResult(), queue.Queue[tuple[int, int, float, Tensor] | None](AHEAD)
    failed: list[BaseException] = []

    def decode() -> None:
        try:
            for number, path in enumerate(files):
                _decode(done, line, number, path, preprocessing, fps)
        except BaseException as error:  # noqa: BLE001  # raised again by the reader
            failed.append(error)
        finally:
            line.put(None)

    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    rows: list[tuple[int, int, float]] = []
    parts: list[Tensor] = []
    waiting: list[tuple[int, int, float, Tensor]] = []
    ended = False
    while not ended:
        item = line.get()
        ended = item is None
        waiting += [] if item is None else [item]
        if waiting and (ended or len(waiting) == batch):
            started = perf_counter()
            parts.append(forward(torch.stack([pixels for *_, pixels in waiting])))
            done.encode_seconds += perf_counter() - started
            rows += [(file, frame, seconds) for file, frame, seconds, _ in waiting]
            waiting = []
    thread.join()
    if failed:
        raise failed[0]
    vectors = torch.cat(parts).numpy()
    _write(out, rows, vectors)
    done.vectors = {
        (file, frame): vector for (file, frame, _), vector in zip(rows, vectors, strict=True)
    }
    return done


def _decode(
    done: PlainResult,
    line: "queue.Queue[tuple[int, int, float, Tensor] | None]",
    number: int,
    path: Path,
    preprocessing: Preprocessing,
    fps: float,
) -> None:
    """Put a file's frame on screen at each instant, counted from its first one, on the line."""
    started, origin, frame, held = perf_counter(), None, 0, None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for picture in container.decode(stream):
            done.pictures += 1
            seconds = float(picture.time or 0.0)
            origin = seconds if origin is None else origin
            shown = origin + frame / fps
            if held is not None and seconds > shown + 1e-6:
                pixels = prepare(held.to_ndarray(format="rgb24"), preprocessing)
                done.decode_seconds += perf_counter() - started
                line.put((number, frame, shown, pixels))
                started = perf_counter()
                while origin + frame / fps + 1e-6 < seconds:
                    frame += 1
            held = picture
        if held is not None and origin is not None:
            stop = float(held.time or 0.0) + float((held.duration or 0) * (held.time_base or 0))
            if origin + frame / fps < stop - 1e-6:
                pixels = prepare(held.to_ndarray(format="rgb24"), preprocessing)
                line.put((number, frame, origin + frame / fps, pixels))
    done.decode_seconds += perf_counter() - started


def _write(out: Path, rows: Sequence[tuple[int, int, float]], vectors: NDArray[np.float32]) -> None:
    half = np.ascontiguousarray(vectors, np.float16)
    kind = pa.binary(2 * half.shape[1])
    packed = pa.FixedSizeBinaryArray.from_buffers(kind, len(half), [None, pa.py_buffer(half)])
    files, frames, seconds = zip(*rows, strict=True)
    columns = {"file": files, "frame": frames, "seconds": seconds, "embedding": packed}
    pq.write_table(pa.table(columns), out)
