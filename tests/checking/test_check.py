"""A checkpoint of each format goes through to its card, and whatever is wrong with one is said."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from math import prod
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import MetaClip2Model

from engine.checking.card import CheckCard, save_card
from engine.checking.check import Tryout, check_model, find_captions, made_up
from engine.checking.equal import compare, reference_of
from engine.checking.files import look_at
from engine.checking.frames import gather
from engine.errors import EngineError, ModelError, NotFoundError
from engine.video.write import write_h264
from engine.vision.earlygate.file import load_gate
from engine.vision.model import Model, load_model
from engine.world.clip import make_clip
from engine.world.render import render_frames
from tests.checkpoints import WORDS, save_words, tiny_clip, tiny_siglip

SMALL = Tryout(streams=2, frames=5, device="cpu")


def quiet(_: str) -> None:
    """Hear nothing."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("tiny-clip"))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory) -> Path:
    return tiny_siglip(tmp_path_factory.mktemp("tiny-siglip"))


@pytest.fixture(scope="module")
def metaclip_2(tmp_path_factory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("tiny-metaclip"), MetaClip2Model)


@pytest.fixture
def own(clip, tmp_path) -> Path:
    """A copy of the CLIP, to be spoiled."""
    return Path(shutil.copytree(clip, tmp_path / "own"))


@pytest.mark.parametrize("kind", ["clip", "metaclip_2", "siglip"])
def test_each_format_gets_a_card(kind: str, request: pytest.FixtureRequest, tmp_path) -> None:
    folder = request.getfixturevalue(kind)
    (folder / "README.md").write_text("---\ntags: [x]\nlicense: mit\n---\n# Tiny\n")
    card = check_model(str(folder), SMALL, quiet)
    assert card.difference is not None
    assert 0 <= max(card.difference.image, card.difference.text) < 1e-5
    assert card.difference.levels < 1.01  # Pillow rounds what torch does not
    assert card.difference.preprocessed < 1e-3
    file = folder / "model.safetensors"
    with safe_open(file, framework="pt") as stored:
        shapes = [stored.get_slice(name).get_shape() for name in stored.keys()]  # noqa: SIM118
    assert card.weights.parameters == sum(map(prod, shapes))
    assert card.weights.files[0].sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert not card.weights.files[0].verified
    assert card.weights.licence == "mit"
    assert card.space == load_model(str(folder), device="cpu").space.key
    assert (card.frames, card.streams) == (10, 2)
    assert card.captions.right < card.captions.of == 16
    assert "as good as chance" in card.good_for
    assert min(card.times.dense_ms, card.times.gate_ms, card.times.text_ms) > 0
    save_card(card, tmp_path / "card.json")
    assert CheckCard.read(tmp_path / "card.json") == card
    assert f"- space {card.space}" in (tmp_path / "card.md").read_text()


def test_a_cut_model_is_held_against_the_whole(clip: Path) -> None:
    card = check_model(f"{clip}?dim=9", SMALL, quiet)
    assert card.dimension == 9
    assert card.difference is not None
    assert max(card.difference.image, card.difference.text) < 1e-5


def test_own_videos_calibrate_the_gate(clip: Path, tmp_path: Path) -> None:
    videos, limits, heard = tmp_path / "videos", tmp_path / "limits.safetensors", []
    videos.mkdir()
    (videos / "a-note.txt").write_text("no video")
    made = make_clip(3, "test", duration_seconds=3.0, redundancy=0.9)
    write_h264(videos / "b.mp4", render_frames(made, 64), made.fps)
    trial = replace(SMALL, videos=videos, limits=limits)
    card = check_model(str(clip), trial, heard.append)
    assert (card.streams, card.frames, card.frames_of) == (1, 5, str(videos))
    assert any(said.startswith("left out: ") and "a-note.txt" in said for said in heard)
    model = load_model(str(clip), device="cpu")
    stored = load_gate(limits, model.tower.config, weight_hash=model.space.weight_hash)
    assert card.gate is not None
    assert stored.card.report["drift"] == pytest.approx(card.gate.drift)
    assert card.gate.drift <= 0.02
    assert card.times.gate_drift == pytest.approx(card.gate.drift, abs=1e-6)
    with pytest.raises(NotFoundError, match=r"no folder '.*nowhere' of videos"):
        check_model(str(clip), replace(SMALL, videos=tmp_path / "nowhere"), quiet)


def test_the_built_in_model_finds_its_own_captions() -> None:
    found = find_captions(load_model(device="cpu"), *made_up())
    assert found.right >= 14


def change(folder: Path, name: str, value: object) -> None:
    """Set a value in the folder's configuration."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {name: value}))


def weights(folder: Path, changed: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the folder's tensors."""
    tensors = load_file(folder / "model.safetensors")
    changed(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def without_texts(folder: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("text_")]:
            del tensors[name]

    weights(folder, drop)


def spoil_one(folder: Path) -> None:
    weights(folder, lambda t: t["text_model.final_layer_norm.bias"].__setitem__(3, torch.nan))


def other_bytes(folder: Path) -> None:
    """Keep the weights as the hub's cache does, under a hash that is another file's."""
    stored = folder.parent / hashlib.sha256(b"another").hexdigest()
    (folder / "model.safetensors").rename(stored)
    (folder / "model.safetensors").symlink_to(stored)


def with_sentencepiece(folder: Path) -> None:
    """Name the tokenizer as the first SigLIP's checkpoints do."""
    file = folder / "tokenizer_config.json"
    told = json.loads(file.read_text()) | {"tokenizer_class": "SiglipTokenizer"}
    file.write_text(json.dumps(told))


WRONG = {
    r"found pytorch_model\.bin; allowed: safetensors only": pickled,
    r"model\.safetensors is damaged or cut short: .*; copy or fetch it again": cut_short,
    r"1 of 32 weights of text_model\.final_layer_norm\.bias are not numbers": spoil_one,
    "no text tower among the weights": without_texts,
    "does not have the hash that the hub gives": other_bytes,
    "no text tower, so that texts find nothing; allowed: CLIP or SigLIP": lambda folder: change(
        folder, "model_type", "siglip_vision_model"
    ),
    "the tokenizer knows 14 tokens, the text tower 9: it is another model's": lambda folder: (
        save_words(folder, [*"vwxyz", *WORDS])
    ),
    r"the tokenizer puts no end token \(8\) after a text": lambda folder: save_words(
        folder, WORDS, ends=False
    ),
    r"no tokenizer in .*own; allowed: tokenizer\.json": lambda folder: (
        folder / "tokenizer.json"
    ).unlink(),
    "the tokenizer cannot be read: ": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    r"model\.safetensors\.index\.json has no weight_map": lambda folder: (
        folder / "model.safetensors.index.json"
    ).write_text("{}"),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_wrong_is_said_in_a_line(said: str, own: Path) -> None:
    WRONG[said](own)
    with pytest.raises(ModelError, match=said) as raised:
        check_model(str(own), SMALL, quiet)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="it is installed")
def test_a_tokenizer_that_needs_another_package_names_it(siglip: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(siglip, tmp_path / "own"))
    with_sentencepiece(own)
    said = "cannot be read: it needs SentencePiece: pip install sentencepiece"
    with pytest.raises(ModelError, match=said):
        load_model(str(own), device="cpu")


def test_numbers_too_large_for_float16_are_refused(own: Path) -> None:
    weights(own, lambda t: t["vision_model.post_layernorm.weight"].mul_(1e6))
    trial = replace(SMALL, dtype=torch.float16)
    said = r"vectors are not numbers \(NaN or Inf\) in float16; allowed: float32, or bfloat16"
    with pytest.raises(ModelError, match=said):
        check_model(str(own), trial, quiet)
    card = check_model(str(own), replace(trial, dtype=torch.bfloat16), quiet)
    assert card.dtype == "bfloat16"
    assert 0 < card.type_drift < 0.01


def test_files_of_the_hub_are_held_against_their_hashes(own: Path) -> None:
    file = own / "model.safetensors"
    stored = own.parent / hashlib.sha256(file.read_bytes()).hexdigest()
    file.rename(stored)
    file.symlink_to(stored)
    assert look_at(own, [file]).files[0].verified


def off_in_vision(model: Model) -> Model:
    model.tower.layer(0).up.bias.add_(0.01)
    return model


def off_in_texts(model: Model) -> Model:
    model.text.post.bias.add_(0.01)
    return model


def off_in_pictures(model: Model) -> Model:
    other = replace(model.preprocessing, resample="bilinear")
    return replace(model, preprocessing=other)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (off_in_vision, "our vectors of pictures are off transformers'"),
        (off_in_texts, "our vectors of texts are off transformers'"),
        (off_in_pictures, "our preprocessing is off its processor's"),
    ],
)
def test_a_forward_that_is_off_is_noticed(clip: Path, spoil, said: str) -> None:
    model = spoil(load_model(str(clip), device="cpu", dtype=torch.float32))
    frames = gather(None, model.preprocessing, streams=1, frames=3, tell=quiet)
    reference, _ = reference_of(str(clip), clip)
    assert reference is not None
    with pytest.raises(EngineError, match=said):
        compare(clip, model, reference, frames.pictures, ["a dog", "a red circle"])


def test_siglip_reads_small_letters_padded_after_their_end(siglip: Path, tmp_path: Path) -> None:
    left = tiny_siglip(tmp_path, padding_side="left")
    model, other = (load_model(str(each), device="cpu") for each in (siglip, left))
    ids = model.tokenize(["A Dog.", "a dog."])
    assert ids[0].tolist() == ids[1].tolist() == other.tokenize(["A dog."])[0].tolist()
    letters = {word: at for at, word in enumerate("▁abcdefghijklmnopqrstuvwxyz,.", start=5)}
    assert ids[0].tolist() == [*(letters[each] for each in "a▁dog."), 1, *[0] * 17]
