"""How long a model takes on this machine: medians of a few rounds, no benchmark."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.checking.card import Times
from engine.storage.flat import FlatIndex, write_flat
from engine.storage.tuning import Tuning
from engine.vision.backbone.macs import dense_macs
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.model import Model
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk, Strategy

ROUNDS = 3
ROWS = 20_000  # random vectors that the search is among


def take_times(
    model: Model, gate: EarlyGate | None, streams: Sequence[Tensor], texts: list[str]
) -> Times:
    """Time dense and the gate, if there is one, on the same streams in turns; a text; a search."""
    count = sum(len(stream) for stream in streams)
    ways: list[Strategy] = [Dense(model.tower), *([gate] if gate else [])]
    (exact, _), *gated = [_encode(way, streams) for way in ways]
    turns = [
        [_milliseconds(partial(_encode, way, streams)) / count for way in ways]
        for _ in range(ROUNDS)
    ]
    drift = [float((1 - F.cosine_similarity(found, exact)).mean()) for found, _ in gated]
    share = [float(macs.mean()) / dense_macs(model.tower.config) for _, macs in gated]
    text = [_milliseconds(partial(model.embed_texts, [each])) for each in texts[:ROUNDS]]
    return Times(
        dense_ms=median(turn[0] for turn in turns),
        gate_ms=median(turn[1] for turn in turns) if gated else None,
        gate_drift=next(iter(drift), None),
        gate_share=next(iter(share), None),
        text_ms=median(text),
        search_ms=_search(model.space.dimension),
        rows=ROWS,
        rounds=ROUNDS,
    )


def _encode(strategy: Strategy, streams: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    encoded = strategy.encode([Chunk(stream, last=True) for stream in streams])
    vectors = torch.cat([each.embeddings.float().cpu() for each in encoded])
    return vectors, torch.cat([each.macs.cpu() for each in encoded])


def _search(dimension: int) -> float:
    rows = np.random.default_rng(0).standard_normal((ROWS, dimension), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "random.faiss"
        write_flat(dimension, np.arange(ROWS), rows, path)
        index = FlatIndex.open(path)
        every = index.choose(np.arange(ROWS))
        return median(
            _milliseconds(partial(index.search, row, 10, every, Tuning(), exact=True))
            for row in rows[:ROUNDS]
        )


def _milliseconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return 1e3 * (perf_counter() - began)
