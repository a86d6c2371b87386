"""A network that looks at the patches of frames for what a statement says, then over time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.answering.clock import VALUES, clock
from engine.vision.backbone.text import TextConfig
from engine.vision.backbone.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class PatchNetworkConfig:
    """Shape of the network."""

    depth: int = 9  # layers of the vision tower that its tokens come through
    width: int = 192
    heads: int = 6
    blocks: int = 4
    glances: int = 8  # places that are looked at in a frame, at once and in each block


class Attention(nn.Module):
    """Rows `[..., n, W]` read rows `[..., m, W]`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, read: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend; `mask` `[..., 1, m]` is True where a row may be read."""
        q = self._split(self.q(x))
        k, v = (self._split(part) for part in self.kv(read).chunk(2, dim=-1))
        mask = None if mask is None else mask[:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(x.shape))

    def _split(self, rows: Tensor) -> Tensor:
        batch, count, width = rows.shape
        return rows.view(batch, count, self.heads, width // self.heads).transpose(1, 2)


class PatchLayer(nn.Module):
    """Glances look into their frame, then all rows of a statement meet."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.look = Attention(width, heads)
        self.meet = Attention(width, heads)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, patches: Tensor, shown: Tensor) -> Tensor:
        """One step of all statements on all videos.

        Args:
            x: the verdict's rows, then the glances of each frame, `[B, S, 1 + F, G, W]`.
            patches: `[B * F, N, W]`.
            shown: which of x's rows are no padding, `[B * S, 1, (1 + F) * G]`.
        """
        first, second, third = self.norms
        eyes = first(x[:, :, 1:]).transpose(1, 2)  # [B, F, S, G, W]
        seen = self.look(eyes.reshape(len(patches), -1, x.shape[-1]), patches)
        seen = seen.view(eyes.shape).transpose(1, 2)
        x = torch.cat([x[:, :, :1], x[:, :, 1:] + seen], dim=2)
        met = second(x).view(len(shown), -1, x.shape[-1])
        x = x + self.meet(met, met, shown).view(x.shape)
        return x + self.down(F.gelu(self.up(third(x))))


class PatchNetwork(nn.Module):
    """Scores statements on videos by looking at patches.

    Every statement has a few glances in every frame: rows that begin as what the statement's words
    ask for, look at the frame's patches, and then meet those of the other frames, so that what
    happens to a thing over time can be told. Rows that belong to no frame gather the verdict.
    """

    def __init__(self, config: PatchNetworkConfig, vision: VisionConfig, text: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = vision
        width = config.width
        self.patch = nn.Sequential(nn.LayerNorm(vision.width), nn.Linear(vision.width, width))
        self.place = nn.Parameter(torch.randn(vision.side**2, width) * 0.02)
        self.word = nn.Sequential(nn.LayerNorm(text.width), nn.Linear(text.width, width))
        self.listeners = nn.Parameter(torch.randn(2 * config.glances, width) * 0.5)
        self.listen = Attention(width, config.heads)
        self.time = nn.Linear(VALUES, width)
        self.blocks = nn.ModuleList(PatchLayer(width, config.heads) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)
        self.relevance = nn.Linear(width, 1)

    def forward(
        self, tokens: Tensor, seconds: Tensor, shown: Tensor, words: Tensor, said: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score statements and frames.

        Args:
            tokens: of the vision tower, `[B, F, N, D]`.
            seconds: when each frame is shown, from the first on, `[B, F]`.
            shown: which are frames and no padding, `[B, F]`.
            words: tokens of the text tower, `[B, S, T, D]`.
            said: which are words and no padding, `[B, S, T]`.

        Returns:
            Scores `[B, S]` and logits of relevance `[B, S, F]`.
        """
        videos, statements = said.shape[:2]
        heard = self._listen(words.flatten(0, 1), said.flatten(0, 1))
        verdict, eyes = heard.view(videos, statements, 2, self.config.glances, -1).split(1, dim=2)
        times = self.time(clock(seconds, shown)).to(heard.dtype)  # [B, F, W]
        x = torch.cat([verdict, eyes + times[:, None, :, None]], dim=2)
        patches = tokens.flatten(0, 1)[:, int(self.vision.class_token) :]
        seen = self.patch(patches) + self.place
        rows = F.pad(shown, (1, 0), value=True).repeat_interleave(self.config.glances, 1)
        mask = rows.repeat_interleave(statements, 0)[:, None]
        for block in self.blocks:
            x = block(x, seen, mask)
        pooled = self.norm(x).mean(3)  # [B, S, 1 + F, W]
        return self.score(pooled[:, :, 0])[..., 0], self.relevance(pooled[:, :, 1:])[..., 0]

    def _listen(self, words: Tensor, said: Tensor) -> Tensor:
        """What the statements `[B * S, T, D]` ask rows of each kind to look for."""
        listeners = self.listeners.expand(len(words), -1, -1)
        return listeners + self.listen(listeners, self.word(words), said[:, None])
