"""Check a model, step by step: its files, its words, its forward, its numbers, its speed."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from engine.background import background_of
from engine.checking.card import (
    Captions,
    CheckCard,
    CheckedGate,
    Difference,
    Unrelated,
    Weights,
)
from engine.checking.equal import compare, judge, reference_of
from engine.checking.files import look_at
from engine.checking.frames import Picture, Tell, TriedFrames, gather
from engine.checking.library import compare_library
from engine.checking.timing import take_times
from engine.errors import ModelError
from engine.search.null import measure_null
from engine.training.earlygate.calibrate import calibrate
from engine.vision.backbone.checkpoint import weights_of
from engine.vision.backbone.library import library_of
from engine.vision.backbone.locate import locate
from engine.vision.backbone.named import parse_name
from engine.vision.backbone.timm_towers import is_timm
from engine.vision.earlygate.file import GateCard, GateFile, save_gate
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.model import Model, load_model, pick_device
from engine.world.clip import make_pool
from engine.world.render import render_at

UNTRAINED = 0.2  # threshold of every layer where nothing is calibrated
FEWER = 0.9  # of the text tower's words: a tokenizer with less is told of
_CAPTIONS = 16
_TEXTS = ("a dog", "A man opens a Red door.", "two people talk, outside, at night", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tryout:
    """What a model is tried on, and how."""

    videos: Path | None = None  # None: made-up clips
    streams: int = 4
    frames: int = 9  # of each
    device: str = "auto"
    dtype: torch.dtype | None = None
    limits: Path | None = None  # where calibrated limits go; None: none are calibrated
    max_drift: float = 0.02


def check_model(name: str, trial: Tryout, tell: Tell) -> CheckCard:
    """Try a checkpoint out and return its card; the first thing that is wrong is an error."""
    if is_timm(name):
        raise ModelError(
            f"{name} reads no texts, which a card is about; allowed: a model with both towers; its"
            " weights are checked whenever it is loaded"
        )
    folder, weights = _look(name, tell)
    exact = load_model(name, device="cpu", dtype=torch.float32)
    model = _as_used(name, trial, exact)
    frames = gather(
        trial.videos, exact.preprocessing, streams=trial.streams, frames=trial.frames, tell=tell
    )
    if trial.limits is not None and exact.tower.foreign:
        raise ModelError(f"no early gate to calibrate, for {exact.tower.foreign}")
    shown, captions = made_up()
    difference, lacking = _compared(name, folder, exact, frames, (*captions[:4], *_TEXTS), tell)
    tell("embedding")
    vectors = model.embed_images(frames.pictures)
    drift = 1 - (vectors * exact.embed_images(frames.pictures)).sum(1)
    null = measure_null(model, background_of(name), vectors)
    found = find_captions(model, shown, captions)
    if trial.limits is not None:
        tell("calibrating the early gate")
    gate, checked = (None, None) if model.tower.foreign else _calibrated(model, frames, trial)
    tell("timing")
    times = take_times(model, gate, frames.streams, captions)
    space, config = model.space, model.tower.config
    return CheckCard(
        model=name,
        revision=space.revision,
        space=space.key,
        folder=str(folder or ""),
        checked_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=_machine(model.device),
        device=str(model.device),
        dtype=str(model.tower.dtype).removeprefix("torch."),
        weights=weights,
        dimension=space.dimension,
        image_size=config.image_size,
        context=model.text.config.context if folder else 0,
        layers=config.layers if folder else 0,
        frames=frames.count,
        streams=len(frames.streams),
        frames_of=frames.of,
        difference=difference,
        type_drift=float(drift.mean()),
        unrelated=Unrelated(null.middle, null.width),
        captions=found,
        gate=checked,
        times=times,
        notes=tuple(_notes(model, weights, lacking)),
        takes=_taken(model),
    )


def _look(name: str, tell: Tell) -> tuple[Path | None, Weights]:
    """Read a checkpoint's weights; those of a server nobody can look at."""
    if parse_name(name).is_url:
        return None, Weights((), 0, None, ())
    folder, _ = locate(name, None)
    tell("reading the weights")
    return folder, look_at(folder, weights_of(name, folder))


def _compared(
    name: str,
    folder: Path | None,
    exact: Model,
    frames: TriedFrames,
    texts: Sequence[str],
    tell: Tell,
) -> tuple[Difference | None, str]:
    """Hold the model against its library, or against itself where it is the library's; else why."""
    if folder is None:
        return None, _repeated(exact, frames, texts)
    if (family := library_of(parse_name(name).base, folder)) is not None:
        tell("comparing with transformers' own preprocessing")
        found, lacking = compare_library(name, family, folder, exact, frames.pictures, texts)
        if found is not None:
            judge(found, folder)
        return found, lacking
    reference, lacking = reference_of(name, folder)
    if reference is None:
        return None, lacking and f"{lacking}: our forward was held against nothing"
    tell(f"comparing with {reference.library}")
    return compare(folder, exact, reference, frames.pictures, texts), ""


def _repeated(model: Model, frames: TriedFrames, texts: Sequence[str]) -> str:
    """Ask a server the same again; say how far its answers lie apart."""
    seen = [model.embed_images(frames.pictures) for _ in range(2)]
    said = [model.embed_texts(texts) for _ in range(2)]
    off = max(float(np.abs(once - again).max()) for once, again in (seen, said))
    return (
        "a server's weights cannot be looked at, and it may change its model unseen; asked twice,"
        f" its unit vectors differ by {off:.1e} at most"
    )


def _taken(model: Model) -> str:
    """Say what a vector is of, where that is no square picture."""
    told, size = model.preprocessing, model.preprocessing.size
    if told.pictures > 1:
        return f"clips of {told.pictures} pictures of {size} pixels"
    if told.fit is not None:
        return f"pictures of any shape, of at most {told.fit.most} pixels"
    return ""


def _as_used(name: str, trial: Tryout, exact: Model) -> Model:
    """Return the model on the device and in the type that it will be used with."""
    same = pick_device(trial.device).type == "cpu" and trial.dtype in (None, torch.float32)
    if same:
        return exact
    return load_model(name, device=trial.device, dtype=trial.dtype)


def _calibrated(
    model: Model, frames: TriedFrames, trial: Tryout
) -> tuple[EarlyGate, CheckedGate | None]:
    """Calibrate the gate where limits are wanted, and write them."""
    start = EarlyGate(model.tower, FixedLimits.uniform(model.tower.config, UNTRAINED))
    if trial.limits is None:
        return start, None
    found = calibrate(start, frames.streams, max_drift=trial.max_drift)
    assert isinstance(found.limits, FixedLimits)  # as those to start from are
    card = GateCard.of(model.space, trial.max_drift, found.report)
    save_gate(trial.limits, GateFile(found.limits, card))
    drift, share = found.trial.drift, found.trial.share
    checked = CheckedGate(str(trial.limits), trial.max_drift, drift, share)
    return EarlyGate(model.tower, found.limits), checked


def made_up() -> tuple[list[Picture], list[str]]:
    """Made-up pictures, and what each shows."""
    clips = list(islice(make_pool("test", _CAPTIONS, seed=1), _CAPTIONS))
    shown = [render_at(clip, clip.duration_seconds / 2) for clip in clips]
    return shown, [clip.caption for clip in clips]


def find_captions(model: Model, shown: Sequence[Picture], captions: Sequence[str]) -> Captions:
    """Count the pictures that score higher with their own caption than with all others."""
    scores = model.embed_images(shown) @ model.embed_texts(captions).T
    right = scores.argmax(1) == np.arange(len(scores))
    return Captions(int(right.sum()), len(captions))


def _notes(model: Model, weights: Weights, lacking: str) -> Sequence[str]:
    """What is no error, and should be known."""
    notes = [lacking] if lacking else []
    if model.tower.foreign:
        notes.append(f"{model.tower.foreign}: every frame is embedded in full")
    if weights.unread:
        notes.append(f"never read, for they may hold pickles: {', '.join(weights.unread)}")
    if model.tokenizer is None or model.tower.foreign:
        return notes
    known, rows = len(model.tokenizer), model.text.config.vocabulary
    if known < FEWER * rows:
        notes.append(
            f"the tokenizer knows {known} tokens, the text tower {rows}: is it this model's?"
        )
    return notes


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()}, {torch.get_num_threads()} threads"
