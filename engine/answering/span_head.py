"""A trained head that says when the evidence is there: TempGQA's Gaussian over a video's frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from engine.answering.answer import Answered
from engine.answering.clock import VALUES, clock
from engine.answering.ground import Grounded
from engine.answering.head import AnswerHead
from engine.errors import UsageError
from engine.vision.backbone.trained import NetworkKind, load_trained, save_trained

TOGETHER = 128  # questions read at once
KIND = NetworkKind("spans", "span head", "reads vectors", "grounding")
NARROWEST = 1e-2  # share of the video that a Gaussian is wide at least, as published
EVEN = 3**0.5  # half of an even span over its standard deviation


@dataclass(frozen=True, slots=True)
class SpanConfig:
    """Shape of the head; `sigma` and `gamma` say how much of the Gaussian's width is the span.

    The published ones are 9 and 1, spans of 2/9 of the video at the most; spans of the made-up
    world may be as long as it.
    """

    dimension: int  # of the embedding space
    width: int = 128
    layers: int = 3
    heads: int = 4
    sigma: float = 2.0
    gamma: float = 1.0


@dataclass(frozen=True, slots=True)
class Spans:
    """What the head says of questions on videos."""

    centre: Tensor  # [B], share of the video
    width: Tensor  # [B], likewise
    inside: Tensor  # [B, F], logits of each frame showing the evidence

    def edges(self, config: SpanConfig) -> Tensor:
        """Start and stop as shares of the video, `[B, 2]`."""
        half = config.gamma * self.width.clamp_min(NARROWEST) / config.sigma
        return torch.stack([self.centre - half, self.centre + half], 1).clamp(0, 1)


class SpanHead(nn.Module):
    """The statement and the frames through a transformer; a weighted sum gives the Gaussian.

    Frames are weighed by their own logits of showing the evidence, as TempGQA's attention weighs
    them. Centre and width are where these lie and how far they spread, and what is learned of both.
    """

    def __init__(self, config: SpanConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.frame = nn.Linear(config.dimension, width)
        self.agree = nn.Linear(config.dimension, width)
        self.change = nn.Linear(config.dimension, width)
        self.similarity = nn.Linear(1, width)
        self.time = nn.Linear(VALUES, width)
        self.statement = nn.Linear(config.dimension, width)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                width, config.heads, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True
            ),
            config.layers,
            enable_nested_tensor=False,
        )
        self.norm = nn.LayerNorm(width)
        self.inside = nn.Linear(width, 1)
        last = nn.Linear(width, 2)
        self.gauss = nn.Sequential(nn.Linear(2 * width + 2, width), nn.GELU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def start_from(self, head: AnswerHead) -> None:
        """Take over what an answering head of the same shape reads, and when it says evidence is.

        Raises:
            UsageError: it has another shape.
        """
        own = (self.config.dimension, self.config.width, self.config.layers, self.config.heads)
        theirs = head.config
        given = (theirs.dimension, theirs.width, theirs.layers, theirs.heads)
        if own != given:
            raise UsageError(
                f"an answering head of dimension, width, layers and heads {given}; allowed: {own}"
            )
        taken = {
            name.replace("relevance.", "inside."): tensor
            for name, tensor in head.state_dict().items()
            if not name.startswith("score.")
        }
        kept = {name: tensor for name, tensor in self.state_dict().items() if "gauss." in name}
        self.load_state_dict(taken | kept)

    def forward(self, frames: Tensor, seconds: Tensor, shown: Tensor, statements: Tensor) -> Spans:
        """Say where the evidence is.

        Args:
            frames: unit vectors `[B, F, E]`.
            seconds: when each is shown, from the start of the video, `[B, F]`.
            shown: which are frames and no padding, `[B, F]`.
            statements: unit vectors of question and answer, `[B, E]`.
        """
        scale = self.config.dimension**0.5
        before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
        product = frames * statements[:, None]
        tokens = (
            self.frame(frames * scale)
            + self.change((frames - before) * scale)
            + self.agree(product * scale * scale)
            + self.similarity(product.sum(-1, keepdim=True) * 10)
            + self.time(clock(seconds, shown))
        )
        first = self.statement(statements * scale)[:, None]
        hidden = torch.cat([torch.zeros_like(shown[:, :1]), ~shown], 1)
        tokens = torch.cat([first, tokens + first], 1)
        out = self.norm(self.layers(tokens, src_key_padding_mask=hidden))
        logits = self.inside(out[:, 1:]).squeeze(-1)
        weights = logits.masked_fill(~shown, -torch.inf).softmax(-1)
        pooled = torch.cat([out[:, 0], (weights[..., None] * out[:, 1:]).sum(1)], 1)
        middle, spread = _moments(logits.sigmoid() * shown, seconds, shown)
        moved = self.gauss(torch.cat([pooled, middle[:, None], spread[:, None]], 1))
        width = self.config.sigma / self.config.gamma * (EVEN * spread + moved[:, 1])
        return Spans(middle + moved[:, 0], width, logits)


def _moments(weights: Tensor, seconds: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Where weights `[B, F]` lie in the mean, and how far around it, as shares of the video."""
    shares = seconds / (seconds * shown).amax(1, keepdim=True).clamp_min(1e-3)
    parts = weights / weights.sum(1, keepdim=True).clamp_min(1e-6)
    middle = (parts * shares).sum(1)
    variance = (parts * (shares - middle[:, None]) ** 2).sum(1)
    return middle, (variance + 1e-6).sqrt()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One question's video and statement, to be grounded."""

    seconds: NDArray[np.float64]  # [F], rising
    frames: NDArray[np.float32]  # unit vectors [F, E]
    statement: NDArray[np.float32]  # unit vector [E], of the question and the chosen answer
    end_seconds: float  # of the last frame


@dataclass(frozen=True, slots=True)
class SpanReader:
    """A head for one embedding space."""

    head: SpanHead
    weight_hash: str  # of the model whose vectors it reads

    def to(self, device: torch.device) -> "SpanReader":
        """Move it to a device."""
        return replace(self, head=self.head.to(device))

    @torch.inference_mode()
    def ground(self, asked: Sequence[Evidence]) -> list[Grounded]:
        """Span of each, those of like length read together; the peak is its likeliest frame."""
        order = sorted(range(len(asked)), key=lambda at: len(asked[at].frames))
        found: dict[int, Grounded] = {}
        for start in range(0, len(order), TOGETHER):
            part = order[start : start + TOGETHER]
            found |= zip(part, self._ground([asked[at] for at in part]), strict=True)
        return [found[at] for at in range(len(asked))]

    def _ground(self, asked: Sequence[Evidence]) -> list[Grounded]:
        counts = torch.tensor([len(each.frames) for each in asked])
        shown = torch.arange(int(counts.max())) < counts[:, None]
        frames = pad_sequence([torch.from_numpy(e.frames) for e in asked], batch_first=True)
        times = [torch.from_numpy(e.seconds - e.seconds[0]).float() for e in asked]
        texts = torch.from_numpy(np.stack([each.statement for each in asked]))
        device = self.head.inside.weight.device
        inputs = (frames, pad_sequence(times, batch_first=True), shown, texts)
        said = self.head(*(each.to(device) for each in inputs))
        edges = said.edges(self.head.config).double().cpu().numpy()
        peaks = said.inside.cpu().masked_fill(~shown, -torch.inf).argmax(1).tolist()
        return [
            self._told(each, edge, each.seconds[peak])
            for each, edge, peak in zip(asked, edges, peaks, strict=True)
        ]

    def _told(self, asked: Evidence, edge: NDArray[np.float64], peak: float) -> Grounded:
        begin = float(asked.seconds[0])
        start, stop = (begin + edge * (asked.end_seconds - begin)).tolist()
        return Grounded(start, stop, float(min(max(peak, start), stop)))


def reground(
    answers: Sequence[Answered], asked: Sequence[Evidence], reader: SpanReader
) -> list[Answered]:
    """Give answers the evidence that the head finds for them, in place of what they came with."""
    found = reader.ground(asked)
    return [replace(said, evidence=span) for said, span in zip(answers, found, strict=True)]


def save_span_head(reader: SpanReader, path: Path) -> None:
    """Write a head with its shape and the model it belongs to."""
    save_trained(path, reader.head, reader.head.config, KIND, reader.weight_hash)


def load_span_head(path: Path, weight_hash: str) -> SpanReader:
    """Read a head; one of another kind, or of another model's vectors, is an error."""
    head = load_trained(path, lambda told: SpanHead(SpanConfig(**told)), KIND, weight_hash)
    return SpanReader(head, weight_hash)
