"""A vision-language model in Hugging Face's format, run here by transformers."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, TextStreamer

from engine.answering.chat import ChatTurn, Tell, Wish, silent
from engine.errors import ExecutionError, ModelError
from engine.vision.backbone.locate import locate
from engine.vision.model import pick_device

_TURN = Lock()  # a model generates one reply at a time


@dataclass(frozen=True, slots=True)
class LocalModel:
    """Asks a model of this process; the same turns give the same words."""

    name: str
    processor: Any
    model: Any

    @classmethod
    def load(cls, name: str, *, device: str = "auto") -> "LocalModel":
        """Load a folder or an id; code that comes with one is never run, pickles are not read."""
        folder, revision = locate(name, None)
        try:
            processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
            model = AutoModelForImageTextToText.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype="auto"
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            said = " ".join(str(error).split())[:200]
            raise ModelError(f"{name} is no vision-language model to ask: {said}") from error
        if getattr(processor, "chat_template", None) is None:
            raise ModelError(f"{name} has no chat template, so it cannot be asked")
        called = name if revision == "local" else f"{name}@{revision[:12]}"
        return cls(called, processor, model.eval().to(pick_device(device)))

    @torch.inference_mode()
    def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
        """Reply to the last turn, word by word where somebody listens."""
        messages = [{"role": turn.role, "content": _content(turn)} for turn in turns]
        try:
            with _TURN:
                inputs = self.processor.apply_chat_template(
                    messages,
                    add_generation_prompt=True,
                    tokenize=True,
                    return_dict=True,
                    return_tensors="pt",
                ).to(self.model.device)
                begun = inputs["input_ids"].shape[1]
                made = self.model.generate(
                    **inputs,
                    max_new_tokens=wish.most_tokens,
                    do_sample=False,
                    streamer=None if tell is silent else _Streamed(self.processor, tell),
                )
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            said = " ".join(str(error).split())[:200]
            raise ExecutionError(f"{self.name} cannot be asked: {said}", operator="Look") from error
        tokenizer = getattr(self.processor, "tokenizer", self.processor)
        text: str = tokenizer.decode(made[0, begun:], skip_special_tokens=True)
        return text


class _Streamed(TextStreamer):  # type: ignore[misc]  # of no declared kind
    """Passes words on as they are settled."""

    def __init__(self, processor: Any, tell: Tell) -> None:
        tokenizer = getattr(processor, "tokenizer", processor)
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._tell = tell

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002
        if text:
            self._tell(text)


def _content(turn: ChatTurn) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part.text}
        if part.picture is None
        else {"type": "image", "image": Image.open(io.BytesIO(part.picture)).convert("RGB")}
        for part in turn.parts
    ]
