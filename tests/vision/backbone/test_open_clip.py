"""open_clip's checkpoints on our towers: equal to open_clip, and every strategy runs on them."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GemmaTokenizer

from engine.checking.check import Tryout, check_model
from engine.errors import ModelError, UsageError
from engine.vision.backbone.checkpoint import is_open_clip, read_checkpoint
from engine.vision.backbone.locate import locate, short_name
from engine.vision.backbone.text import TextTower
from engine.vision.backbone.tower import VisionTower
from engine.vision.backbone.weights import fill
from engine.vision.backbone.words import written
from engine.vision.model import load_model
from engine.vision.registry import build_strategy
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.strategies import STRATEGIES
from engine.vision.streaming.strategy import Chunk, Scalable, Strategy
from tests import open_clips
from tests.checkpoints import save_words
from tests.small import Small

TOLD: dict[str, Any] = json.loads(open_clips.FIXTURE.read_text())
FORMS = ("PE-Core", "PE-Core-bigG", "MobileCLIP-B", "SigLIP2")


def installed_whole() -> bool:
    """Whether open_clip is there, with a torchvision that fits this torch."""
    return find_spec("open_clip") is not None and find_spec("torchvision") is not None


installed = pytest.mark.skipif(not installed_whole(), reason="open_clip is an extra")


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Callable[[str], Path]:
    """Folders of checkpoints of each kind, made when they are first asked for."""
    root = tmp_path_factory.mktemp("open-clip")

    def folder(kind: str) -> Path:
        path = root / kind
        if not path.exists():
            open_clips.store(kind, TOLD[kind]["shapes"], path)
            words = [*(f"w{at}" for at in range(51)), "a", "red", "circle", "blue", "square", "dog"]
            if kind == "SigLIP2":
                _gemma(path)
            else:
                save_words(path, ["<pad>", *words, "<start>", "<end>"])
        return path

    return folder


def _gemma(folder: Path) -> None:
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *"▁abcdefghijklmnopqrstuvwxyz,."]
    tokenizer = GemmaTokenizer(
        vocab={word: at for at, word in enumerate(words)}, merges=[], add_bos_token=False,
        add_eos_token=True, padding_side="right",
    )  # fmt: skip
    tokenizer.save_pretrained(folder)


def towers(folder: Path) -> tuple[VisionTower, TextTower]:
    found = read_checkpoint("made-up", folder)
    vision = fill(VisionTower, found.vision, found.vision_tensors, "vision tower")
    return vision, fill(TextTower, found.text, found.text_tensors, "text tower")


def off(ours: Tensor, theirs: list[list[float]]) -> float:
    unit = F.normalize(torch.tensor(theirs), dim=-1)
    return float((F.normalize(ours, dim=-1) - unit).abs().max())


@pytest.mark.parametrize("kind", open_clips.KINDS)
def test_vectors_equal_open_clips(kind: str, stored) -> None:
    vision, text = towers(stored(kind))
    with torch.inference_mode():
        assert off(vision(open_clips.values()), TOLD[kind]["images"]) < 1e-5
        assert off(text(open_clips.ids()), TOLD[kind]["texts"]) < 1e-5


@installed
@pytest.mark.parametrize("kind", open_clips.KINDS)
def test_what_is_told_of_open_clip_is_what_it_gives(kind: str) -> None:
    now = open_clips.answers(kind)
    assert now["shapes"] == TOLD[kind]["shapes"]
    for part in ("images", "texts"):
        assert off(torch.tensor(now[part]), TOLD[kind][part]) < 1e-5


def test_any_rows_are_turned_as_all_are(stored) -> None:
    vision, _ = towers(stored("PE-Core"))
    layer, rows = vision.layer(1), torch.tensor([[16, 0, 3, 9], [7, 7, 1, 0]])
    h = torch.randn(2, vision.config.tokens, vision.config.width)
    at = rows[..., None]
    whole, some = layer.project(h), layer.project(h.gather(1, at.expand(-1, -1, 128)), rows)
    torch.testing.assert_close(some, whole.gather(1, at.expand(-1, -1, 384)))
    assert not torch.allclose(some[1, 0], layer.project(h[1:, 7:8], rows[1:, 2:3])[0, 0])


@pytest.mark.parametrize("kind", FORMS)
def test_every_strategy_runs_on_it(kind: str, stored, small: Small) -> None:
    vision, _ = towers(stored(kind))
    torch.manual_seed(5)
    still = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8).expand(6, -1, -1, -1)
    moving = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    chunks = [Chunk(still, last=True), Chunk(moving, last=True)]
    dense = build_strategy("dense", vision).encode(chunks)
    strategies: dict[str, Strategy] = {"reusevit": ReuseViT(vision, small.modules(vision.config))}
    for name in set(STRATEGIES.all()) - {"dense", "interpolate", "diffrate", "reusevit"}:
        try:
            options = {"threshold": 0.1} if name == "earlygate" else {}
            strategies[name] = build_strategy(name, vision, options=options)
        except UsageError as error:
            if name != "tome" or vision.config.by_class:
                raise AssertionError(f"{name} on {kind}") from error
    assert len(strategies) >= 7
    for name, strategy in strategies.items():
        assert isinstance(strategy, Scalable)
        for ours, exact in zip(strategy.with_scale(0.0).encode(chunks), dense, strict=True):
            torch.testing.assert_close(ours.embeddings, exact.embeddings, rtol=1e-4, atol=1e-4)
        if name in ("earlygate", "runlength", "eventful", "cmc_emulated", "eventful_emulated"):
            [reused, _] = strategy.encode(chunks)
            if name in ("earlygate", "runlength", "cmc_emulated"):
                assert int(reused.computed[-1].sum()) < int(reused.computed[0].sum())
            drift = 1 - F.cosine_similarity(reused.embeddings, dense[0].embeddings)
            assert float(drift.abs().max()) < 1e-5


@pytest.mark.parametrize("kind", open_clips.KINDS)
def test_a_checkpoint_of_it_gets_a_card(kind: str, stored) -> None:
    folder = stored(kind)
    with open_clips.shrunk(kind) if installed_whole() else nullcontext():
        card = check_model(str(folder), Tryout(streams=1, frames=3, device="cpu"), lambda _: None)
    assert card.dimension == len(TOLD[kind]["images"][0])
    assert card.weights.files[0].name == "open_clip_model.safetensors"
    assert (card.difference is not None) == installed_whole()
    if card.difference is None:
        assert "open_clip" in card.notes[0]
        assert "held against nothing" in card.notes[0]
    else:
        assert card.difference.library == "open_clip"
        assert max(card.difference.image, card.difference.text) < 1e-5
        assert card.difference.levels < 1.01
    assert card.space == load_model(f"open_clip:{folder}", device="cpu").space.key


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "a fastvit_mci0 does not fit our tower; allowed: plain ViTs, PE-Core": lambda told: told[
        "vision_cfg"
    ].update(timm_model_name="fastvit_mci0"),
    "vision_cfg with ls_init_value 0.1; allowed": lambda told: told["vision_cfg"].update(
        ls_init_value=0.1
    ),
    "text_cfg with hf_model_name 'roberta-base'; allowed": lambda told: told["text_cfg"].update(
        hf_model_name="roberta-base"
    ),
    "texts pooled by argmax with no causal mask; allowed": lambda told: told["text_cfg"].update(
        no_causal_mask=True
    ),
    "a model_cfg without its two towers": lambda told: told.pop("text_cfg"),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_does_not_fit_is_said_in_a_line(said: str, stored, tmp_path: Path) -> None:
    own = Path(shutil.copytree(stored("ViT-B-16"), tmp_path / "own"))
    told = json.loads((own / "open_clip_config.json").read_text())
    WRONG[said](told["model_cfg"])
    (own / "open_clip_config.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match=said) as raised:
        load_model(str(own), device="cpu")
    assert "\n" not in str(raised.value)


def test_an_unknown_one_has_a_nearest_and_pickles_are_not_read(stored, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'PE-Core-B-16/metta'.*PE-Core-B-16/meta"):
        locate("open_clip:PE-Core-B-16/metta", None)
    own = Path(shutil.copytree(stored("ViT-B-16"), tmp_path / "own"))
    (own / "open_clip_model.safetensors").rename(own / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelError, match=r"found open_clip_pytorch_model\.bin; allowed: safetens"):
        load_model(str(own), device="cpu")
    assert short_name("open_clip:PE-Core-B-16/meta@main") == "PE-Core-B-16-meta"


def test_a_folder_in_both_formats_is_read_as_it_is_named(stored, tmp_path: Path) -> None:
    own = Path(shutil.copytree(stored("ViT-B-16"), tmp_path / "own"))
    assert is_open_clip(str(own), own)
    (own / "config.json").write_text('{"model_type": "clip"}')
    assert not is_open_clip(str(own), own)
    assert is_open_clip(f"open_clip:{own}", own)


def test_texts_are_written_as_they_were_learned() -> None:
    text = "  A  man_in &amp;amp; Out, “now”!\n"
    assert written(text, "as_given") == text
    assert written(text, "small") == text.lower()
    assert written(text, "spaced") == "A man_in & Out, “now”!"
    assert written(text, "lower") == "a man_in & out, “now”!"
    assert written(text, "bare") == "a man in out “now”"


@installed
def test_clips_own_words_are_those_of_open_clip(tmp_path: Path) -> None:
    from open_clip.tokenizer import SimpleTokenizer, canonicalize_text

    told, theirs = dict(TOLD["ViT-B-16"]["shapes"]), SimpleTokenizer(context_length=12)
    told["token_embedding.weight"] = [49_408, 128]
    own = open_clips.store("ViT-B-16", told, tmp_path / "own")
    config = own / "open_clip_config.json"
    config.write_text(config.read_text().replace('"hf_tokenizer_name": "made-up"', '"pad_id": 0'))
    model = load_model(str(own), device="cpu")
    texts = ["A Dog.", " two  people; talk\n", "it's 3:45 &amp; über-naïve 狗 🐕", "x" * 99, ""]
    ours, ends = model.tokenize(texts), theirs(texts)
    for mine, other in zip(ours.tolist(), ends.tolist(), strict=True):
        stop = mine.index(49_407) + 1
        assert mine[:stop] == other[:stop]
    for text in texts:
        assert written(text, "bare") == canonicalize_text(text.replace("&amp;", "&"))
