"""What a tower makes of each of a dataset's videos: frames, cues, hidden states, vectors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import UsageError, unknown
from engine.evaluation.encodings import Pixels
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.strategy import cue_side
from engine.vision.streaming.strategy import Chunk, Strategy

FORMAT = "dejavu-extract-1"
KINDS = ("vectors", "pixels", "cues", "hidden")
BATCH = 16  # frames whose hidden states are made at once


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was asked for, and by what it is made; a file says so of itself."""

    kinds: tuple[str, ...]
    space: Space
    strategy: Strategy
    fps: float
    settings: str = ""  # of the strategy: its options, and the hash of what was trained for it

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise UsageError(unknown("kind of what to extract", kind, KINDS))

    @property
    def wants_cues(self) -> bool:
        """Whether videos must be sampled with their codec's cues."""
        return "cues" in self.kinds or cue_side([self.strategy]) is not None

    def card(self) -> dict[str, str]:
        """Metadata of each file."""
        return {
            "format": FORMAT,
            "kinds": ",".join(sorted(self.kinds)),
            "weights": self.space.weight_hash,
            "strategy": self.strategy.name,
            "settings": self.settings,
            "fps": f"{self.fps:g}",
        }


def is_extracted(path: Path, wanted: Extracted) -> bool:
    """Whether a file holds what is wanted, made by the same."""
    try:
        with safe_open(path, framework="pt") as file:
            return bool(file.metadata() == wanted.card())
    except (OSError, SafetensorError):
        return False


@torch.inference_mode()
def extract(videos: Iterable[Pixels], out: Path, wanted: Extracted) -> Iterator[tuple[str, int]]:
    """Write `out/NAME.safetensors` of each video; yield its name and number of frames."""
    out.mkdir(parents=True, exist_ok=True)
    needs = cue_side([wanted.strategy]) is not None
    for video in videos:
        tensors: dict[str, Tensor] = {"seconds": torch.from_numpy(video.seconds)}
        if "vectors" in wanted.kinds:
            chunk = Chunk(video.pixels, last=True, cues=video.cues if needs else None)
            [encoded] = wanted.strategy.encode([chunk])
            tensors["vectors"] = encoded.embeddings.float()
            tensors["computed"] = encoded.computed
        if "pixels" in wanted.kinds:
            tensors["pixels"] = video.pixels
        if "cues" in wanted.kinds:
            assert video.cues is not None
            tensors["cues"] = video.cues
        if "hidden" in wanted.kinds:
            tensors["hidden"] = hidden_states(wanted.strategy.tower, video.pixels)
        kept = {name: each.cpu().contiguous() for name, each in tensors.items()}
        unfinished = out / f".{video.name}.part"
        save_file(kept, unfinished, wanted.card())
        unfinished.replace(out / f"{video.name}.safetensors")
        yield video.name, len(video.pixels)


def hidden_states(tower: VisionTower, pixels: Tensor) -> Tensor:
    """Tokens after the embedding and after every layer, dense: float16 `[F, L + 1, N, D]`."""
    found = []
    for part in pixels.split(BATCH):
        h = tower.embed(tower.normalise(part))
        states = [h]
        for index in range(tower.config.layers):
            h = tower.layer(index)(h)
            states.append(h)
        found.append(torch.stack(states, 1).half().cpu())
    return torch.cat(found)
