"""The card of a model that was checked: one JSON document, and the same in words beside it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from engine.errors import ModelError
from engine.storage.layout import Layout

FORMAT = "dejavu-model-card-1"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file of weights as it was read."""

    name: str
    size_bytes: int
    sha256: str
    verified: bool  # against the hash that the hub gives, under which its cache keeps the file


@dataclass(frozen=True, slots=True)
class Weights:
    """What a folder's weights are."""

    files: tuple[WeightFile, ...]
    parameters: int
    licence: str | None  # None: the folder does not say
    unread: tuple[str, ...]  # files beside them that may hold pickles


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest differences from the library's own, and of how many."""

    image: float  # between numbers of unit vectors of the same input values
    text: float
    levels: float  # of 255, between the pictures that our and their preprocessing give
    preprocessed: float  # between unit vectors of those
    num_images: int
    num_texts: int
    library: str = "transformers"

    @property
    def whose(self) -> str:
        """Its name before what is its own."""
        return f"{self.library}'" if self.library.endswith("s") else f"{self.library}'s"


@dataclass(frozen=True, slots=True)
class Unrelated:
    """How unrelated texts and frames score: about a normal distribution."""

    middle: float
    width: float


@dataclass(frozen=True, slots=True)
class Captions:
    """Of so many made-up pictures, how many find their own caption first."""

    right: int
    of: int


@dataclass(frozen=True, slots=True)
class CheckedGate:
    """The early gate's limits as they were calibrated on the frames, under a bound."""

    file: str
    max_drift: float
    drift: float
    share: float  # of dense multiply-accumulates


@dataclass(frozen=True, slots=True)
class Times:
    """Medians on this machine, and what the gate did meanwhile."""

    dense_ms: float  # of a frame
    gate_ms: float | None  # None: no gate runs on a forward that is not ours
    gate_drift: float | None  # mean
    gate_share: float | None  # of dense multiply-accumulates
    text_ms: float | None  # None: it reads no texts
    search_ms: float
    rows: int  # random ones, that the search is among
    rounds: int

    @property
    def told(self) -> str:
        """Tell them in words."""
        gate = "every frame in full"
        if self.gate_ms is not None and self.gate_drift is not None and self.gate_share is not None:
            gate = (
                f"early gate {self.gate_ms:.1f} ms (mean drift {self.gate_drift:.4f},"
                f" {self.gate_share:.2f} of dense arithmetic)"
            )
        text = "" if self.text_ms is None else f" a text {self.text_ms:.1f} ms,"
        return (
            f"medians of {self.rounds}: dense {self.dense_ms:.1f} ms a frame, {gate},{text} an"
            f" exact search of {self.rows} vectors {self.search_ms:.1f} ms"
        )

    @property
    def speed(self) -> str:
        """Tell a frame's in a few words."""
        gated = "" if self.gate_ms is None else f", {self.gate_ms:.1f} gated"
        return f"{self.dense_ms:.1f} ms a frame{gated}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCard:
    """What was found of a model, on which machine and frames, and when."""

    model: str
    revision: str
    space: str
    folder: str
    checked_at: str
    machine: str
    device: str
    dtype: str
    weights: Weights
    dimension: int
    image_size: int
    context: int  # tokens of the longest text
    layers: int
    frames: int
    streams: int
    frames_of: str
    difference: Difference | None  # None: a note says why there is none
    type_drift: float  # mean, of the vectors in `dtype` to those in float32
    unrelated: Unrelated
    captions: Captions
    gate: CheckedGate | None
    times: Times
    notes: tuple[str, ...] = ()
    takes: str = ""  # what a vector is of, where that is no square picture

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a card's JSON."""
        try:
            told = json.loads(path.read_text())
            if (given := told.pop("format", None)) != FORMAT:
                raise ModelError(f"{path}: format {given!r}; allowed: {FORMAT}")
            weights = told.pop("weights")
            files = tuple(WeightFile(**each) for each in weights.pop("files"))
            kinds: dict[str, Any] = {
                "difference": Difference,
                "unrelated": Unrelated,
                "captions": Captions,
                "gate": CheckedGate,
                "times": Times,
            }
            parts = {name: told[name] and kind(**told.pop(name)) for name, kind in kinds.items()}
            unread = tuple(weights.pop("unread"))
            whole = Weights(files=files, unread=unread, **weights)
            notes = tuple(told.pop("notes"))
            return cls(**{**told, **parts, "weights": whole, "notes": notes})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path} is no model's card: {error}") from error

    @property
    def size_bytes(self) -> int:
        """Of the weights on disk."""
        return sum(file.size_bytes for file in self.weights.files)

    @property
    def good_for(self) -> str:
        """Say in a few words what it can be used for, as far as it was seen."""
        texts = f"texts up to {self.context} tokens" if self.context else "texts"
        chance = self.captions.of and self.captions.right <= 0.25 * self.captions.of
        seen = f"{self.captions.right} of {self.captions.of} made-up pictures find their caption"
        told = "" if not chance else "; as good as chance: nothing is known of it"
        return f"{self.takes or f'pictures of {self.image_size} pixels'}, {texts}; {seen}{told}"

    def lines(self) -> Iterator[str]:
        """Tell it in words."""
        yield f"# {self.model}"
        yield ""
        yield f"- space {self.space}, revision {self.revision}, checked {self.checked_at}"
        if self.weights.files:
            verified = all(file.verified for file in self.weights.files)
            hashes = "equal to the hub's" if verified else "recorded; the source gives none"
            yield (
                f"- {self.weights.parameters / 1e6:.1f} M numbers in safetensors, "
                f"{self.size_bytes / 2**20:.1f} MiB; hashes {hashes}"
            )
            yield f"- licence: {self.weights.licence or 'the folder does not say'}"
        deep = f"{self.layers} layers, " if self.layers else ""
        yield f"- {deep}vectors of {self.dimension}; {self.good_for}"
        yield f"- tried on {self.frames} frames of {self.streams} videos: {self.frames_of}"
        if (off := self.difference) is not None:
            yield (
                f"- largest difference from {off.whose} own unit vectors: {off.image:.1e} of"
                f" {off.num_images} pictures, {off.text:.1e} of {off.num_texts} texts; with its own"
                f" preprocessing {off.preprocessed:.1e} ({off.levels:.1f} of 255 levels)"
            )
        yield f"- {self.dtype} on {self.device}: mean drift {self.type_drift:.1e} from float32"
        null = self.unrelated
        yield f"- unrelated texts and frames score {null.middle:.3f} ± {null.width:.3f}, centred"
        if self.gate is not None:
            yield (
                f"- early gate calibrated: mean drift {self.gate.drift:.4f} (bound"
                f" {self.gate.max_drift:g}) at {self.gate.share:.2f} of dense, in {self.gate.file}"
            )
        yield f"- this machine ({self.machine}), {self.times.told}"
        yield from (f"- note: {note}" for note in self.notes)


def save_card(card: CheckCard, path: Path) -> None:
    """Write a card's JSON, and its words beside it with the suffix .md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {path.with_suffix(".md"): "\n".join(card.lines()) + "\n"}
    told[path] = json.dumps(card.as_dict(), indent=2) + "\n"
    for place, text in told.items():
        temporary = place.with_name(f".{place.name}.tmp")
        temporary.write_text(text)
        temporary.replace(place)


def find_card(data: Path, space: str) -> CheckCard | None:
    """Return the card of a space, where the model was checked for this data folder."""
    path = Layout(data).card(space)
    return CheckCard.read(path) if path.is_file() else None


def all_cards(data: Path) -> list[CheckCard]:
    """Return the cards of a data folder, by space."""
    return [CheckCard.read(path) for path in sorted(Layout(data).cards.glob("*.json"))]
