"""Made-up clips in the official formats, and a random model: to try the pipeline out."""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from engine.errors import UsageError, unknown
from engine.evaluation.bench.timed import TOWERS
from engine.evaluation.datasets.nextqa import CHOICES
from engine.training.clip.export import save_clip
from engine.training.texts import END, token_id
from engine.video.write import write_h264
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.text import TextConfig, TextTower
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.world.clip import make_clip
from engine.world.draw import Draw
from engine.world.render import render_frames
from engine.world.scene import Clip

LEAST_SECONDS = 19.0  # at two frames a second a window of train reuse's validation, and its start
FIFTH = "none of these"  # NExT-QA has five choices, a made-up clip's question four
SIZE = 128  # pixels of the made-up videos' edges
SHAPES: dict[str, tuple[VisionConfig, TextConfig]] = {
    "tiny": (
        VisionConfig(3, 64, 2, 128, 16, 64, 32),
        TextConfig(1, 32, 2, 64, 0, 96, 32),
    ),
    "B/16": (TOWERS["B/16"], TextConfig(12, 512, 8, 2048, 0, 77, 512)),
    "L/14": (TOWERS["L/14"], TextConfig(12, 768, 12, 3072, 0, 77, 768)),
}
KINDS = {  # of a made-up question, as NExT-QA would call it
    "colour": "DO",
    "shape": "DO",
    "pattern": "DO",
    "count": "DC",
    "motion": "CH",
    "first": "TP",
    "after": "TN",
    "brief": "TC",
}


def rehearse(folder: Path, clips: int, seconds: float, seed: int) -> dict[str, Path]:
    """Write so many videos and the annotation files of each dataset; return what lies where.

    `videos/` are those of all of them; `nextqa/val.csv`, `nextgqa/val.csv` with `gsub_val.json`,
    `msrvtt/MSRVTT_JSFUSION_test.csv` and `how2qa/how2QA_val_release.csv` ask about them.
    """
    if seconds < LEAST_SECONDS:
        raise UsageError(f"seconds is {seconds:g}; allowed: {LEAST_SECONDS:g} or more")
    draw = Draw("rehearse", seed)
    pool = [make_clip(draw.below(1 << 40), "val", duration_seconds=seconds) for _ in range(clips)]
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    for clip in pool:
        write_h264(videos / f"{clip.name}.mp4", render_frames(clip, SIZE), clip.fps, crf=20.0)
    files = {
        "videos": videos,
        "nextqa": folder / "nextqa/val.csv",
        "nextgqa": folder / "nextgqa/val.csv",
        "spans": folder / "nextgqa/gsub_val.json",
        "msrvtt": folder / "msrvtt/MSRVTT_JSFUSION_test.csv",
        "how2qa": folder / "how2qa/how2QA_val_release.csv",
    }
    header = ("video_id", "frame_count", "width", "height", "question", "answer", "qid", "type")
    for name in ("nextqa", "nextgqa"):
        _write_rows(files[name], [(*header, *CHOICES), *_nextqa(pool)])
    _write_rows(
        files["msrvtt"],
        [
            ("key", "vid_key", "video_id", "sentence"),
            *((f"ret{at}", f"msr{at}", clip.name, clip.caption) for at, clip in enumerate(pool)),
        ],
    )
    _write_rows(files["how2qa"], _how2qa(pool))
    files["spans"].write_text(json.dumps(_spans(pool)) + "\n")
    return files


def _nextqa(pool: Iterable[Clip]) -> Iterator[tuple[Any, ...]]:
    for clip in pool:
        frames = round(clip.duration_seconds * clip.fps)
        for number, asked in enumerate(clip.questions):
            right, kind = asked.choices[asked.answer], KINDS.get(asked.kind, "TC")
            about = (clip.name, frames, SIZE, SIZE, asked.text, right, number, kind)
            yield (*about, *asked.choices, FIFTH)


def _how2qa(pool: Iterable[Clip]) -> Iterator[tuple[Any, ...]]:
    """Without a header: the wrong answers, the question, the right one last."""
    for clip in pool:
        span = f"[0.0:{clip.duration_seconds}]"
        for asked in clip.questions:
            right = asked.choices[asked.answer]
            wrong = [choice for choice in asked.choices if choice != right]
            yield (clip.name, span, *wrong, asked.text, right)


def _spans(pool: Iterable[Clip]) -> dict[str, Any]:
    return {
        clip.name: {
            "duration": math.ceil(clip.duration_seconds),
            "location": {
                str(number): [list(span) for span in asked.spans]
                for number, asked in enumerate(clip.questions)
            },
            "fps": clip.fps,
        }
        for clip in pool
    }


def _write_rows(path: Path, rows: Iterable[tuple[Any, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_random_clip(folder: Path, shape: str, seed: int) -> None:
    """Write a CLIP of a usual shape with random weights, in Hugging Face's format.

    It knows nothing: it is there for its shapes, its files and the time that it takes.
    """
    if shape not in SHAPES:
        raise UsageError(unknown("shape", shape, SHAPES))
    tokenizer = Tokenizer.from_file(str(BUILTIN / "tokenizer.json"))
    vision, text = SHAPES[shape]
    words = TextConfig(
        text.layers, text.width, text.heads, text.mlp,
        vocabulary=tokenizer.get_vocab_size(),
        context=text.context,
        dimension=text.dimension,
        end_token=token_id(tokenizer, END),
    )  # fmt: skip
    torch.manual_seed(seed)
    towers = VisionTower(vision), TextTower(words)
    for tower in towers:
        for name, parameter in tower.named_parameters():
            if parameter.ndim > 1 or name == "class_token":
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    save_clip(folder, *towers, tokenizer, math.log(100.0))
