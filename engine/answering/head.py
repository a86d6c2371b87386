"""A small trained reader of a video's vectors: which choice is right, and which frames say so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from engine.answering.choose import Chosen
from engine.answering.clock import VALUES, clock
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.trained import NetworkKind, load_trained, save_trained
from engine.vision.model import Model

KIND = NetworkKind("answers", "answering head", "reads vectors", "answers", unnamed=True)
_ROOM = 1 << 15  # tokens read at once


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Shape of the head."""

    dimension: int  # of the embedding space
    width: int = 128
    layers: int = 3
    heads: int = 4


class AnswerHead(nn.Module):
    """One statement token and the frames' tokens, in time, through a small transformer.

    A frame's token sees the frame, the statement, where they agree and when the frame is shown; so
    it can tell order and motion, which no single frame's similarity does.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.frame = nn.Linear(config.dimension, width)
        self.agree = nn.Linear(config.dimension, width)
        self.change = nn.Linear(config.dimension, width)
        self.time = nn.Linear(VALUES, width)
        self.statement = nn.Linear(config.dimension, width)
        self.similarity = nn.Linear(1, width)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                width, config.heads, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True
            ),
            config.layers,
            enable_nested_tensor=False,
        )
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)
        self.relevance = nn.Linear(width, 1)

    def forward(
        self, frames: Tensor, seconds: Tensor, shown: Tensor, statements: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score statements and frames.

        Args:
            frames: unit vectors `[B, F, E]`.
            seconds: when each is shown, from the start of the video, `[B, F]`.
            shown: which are frames and no padding, `[B, F]`.
            statements: unit vectors of question and choice, `[B, C, E]`.

        Returns:
            Scores `[B, C]` and logits of relevance `[B, C, F]`.
        """
        batch, count, _ = frames.shape
        choices = statements.shape[1]
        scale = self.config.dimension**0.5
        before = F.pad(frames, (0, 0, 1, 0))[:, :-1]
        before[:, 0] = frames[:, 0]
        own = self.frame(frames * scale) + self.change((frames - before) * scale)
        own = own + self.time(clock(seconds, shown))
        product = frames[:, None] * statements[:, :, None]  # [B, C, F, E]
        cosine = product.sum(-1, keepdim=True)
        tokens = own[:, None] + self.agree(product * scale * scale) + self.similarity(cosine * 10)
        first = self.statement(statements * scale)[:, :, None]
        tokens = torch.cat([first, tokens + first], dim=2).flatten(0, 1)  # [B * C, 1 + F, width]
        hidden = torch.cat([torch.zeros_like(shown[:, :1]), ~shown], dim=1)
        out = self.norm(
            self.layers(tokens, src_key_padding_mask=hidden.repeat_interleave(choices, 0))
        )
        scores = self.score(out[:, 0]).view(batch, choices)
        return scores, self.relevance(out[:, 1:]).view(batch, choices, count)


@dataclass(frozen=True, slots=True)
class ReaderInput:
    """What a reader reads: a video's frames and the statements on it."""

    seconds: NDArray[np.float64]  # [F], rising
    frames: NDArray[np.float32]  # unit vectors [F, E]
    statements: NDArray[np.float32]  # unit vectors [C, E]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of statements, number of frames."""
        return len(self.statements), len(self.frames)


@dataclass(frozen=True, slots=True)
class VectorReader:
    """A head for one embedding space."""

    head: AnswerHead
    weight_hash: str  # of the model whose vectors it reads

    def read(
        self,
        seconds: NDArray[np.float64],
        frames: NDArray[np.float32],
        statements: NDArray[np.float32],
    ) -> Chosen:
        """Choose among statements and give each one's relevance over time."""
        return self.read_all([ReaderInput(seconds, frames, statements)])[0]

    @torch.inference_mode()
    def read_all(self, asked: Sequence[ReaderInput]) -> list[Chosen]:
        """Read many, those of like length together, on the device that the head is on."""
        order = sorted(range(len(asked)), key=lambda at: asked[at].shape)
        found: dict[int, Chosen] = {}
        while order:
            choices, frames = asked[order[-1]].shape  # the longest first: it sets the padding
            room = max(1, _ROOM // (choices * frames))
            alike = [at for at in order[-room:] if asked[at].shape[0] == choices]
            del order[-len(alike) :]
            found |= zip(alike, self._read([asked[at] for at in alike]), strict=True)
        return [found[at] for at in range(len(asked))]

    def _read(self, asked: Sequence[ReaderInput]) -> list[Chosen]:
        lengths = torch.tensor([len(each.frames) for each in asked])
        shown = torch.arange(int(lengths.max())) < lengths[:, None]
        times = [torch.from_numpy(each.seconds - each.seconds[0]).float() for each in asked]
        frames = [torch.from_numpy(each.frames) for each in asked]
        padded = [pad_sequence(each, batch_first=True) for each in (frames, times)]
        texts = torch.from_numpy(np.stack([each.statements for each in asked]))
        device = self.head.score.weight.device
        scores, relevance = self.head(*(each.to(device) for each in (*padded, shown, texts)))
        likely = scores.double().softmax(1).cpu()
        relevant = relevance.double().sigmoid().cpu().numpy()
        return [
            Chosen(int(row.argmax()), tuple(row.tolist()), curve[:, :length])
            for row, curve, length in zip(likely, relevant, lengths.tolist(), strict=True)
        ]


def save_reader(reader: VectorReader, path: Path) -> None:
    """Write a head in half precision, with its shape and the model it belongs to."""
    save_trained(path, reader.head, reader.head.config, KIND, reader.weight_hash, torch.float16)


def load_reader(path: Path, weight_hash: str) -> VectorReader:
    """Read a head; one of another kind, or of another model's vectors, is an error."""
    head = load_trained(path, lambda told: AnswerHead(HeadConfig(**told)), KIND, weight_hash)
    return VectorReader(head, weight_hash)


def shipped_reader(model: Model) -> VectorReader | None:
    """Return the head that ships for a model, if one does, on the model's device."""
    path = BUILTIN / "answers.safetensors"
    if model.space.model != "builtin" or not path.exists():
        return None
    reader = load_reader(path, model.space.weight_hash)
    return replace(reader, head=reader.head.to(model.device))
