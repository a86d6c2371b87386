"""What is said in a video, heard by a Whisper model through an extra, as lines of a transcript."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExecutionError, ModelError, UsageError, VideoError
from engine.ingesting.transcribe import Taken, put_read
from engine.objects.address import place_of
from engine.storage.records import Video
from engine.storage.store import Store
from engine.video.sound import RATE, read_sound
from engine.video.subtitles.cue import CuesRead

SOURCE: Final = "speech"
_FILES: Final = ("model.bin", "config.json", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class SpeechListener:
    """A Whisper model in CTranslate2's format, from a local folder: nothing is fetched."""

    model: Any
    name: str  # what was heard by another is heard anew
    language: str | None = None  # None: told from each video's sound

    @classmethod
    def load(cls, folder: Path, *, language: str | None = None) -> "SpeechListener":
        """Load it; without the extra, or without a model, it is said how to get it."""
        try:
            from faster_whisper import WhisperModel  # an extra, and slow to import
        except ImportError as error:
            raise UsageError(
                "hearing what is said needs an extra: pip install 'dejavu-engine[speech]'"
            ) from error
        lacking = next((name for name in _FILES if not (folder / name).is_file()), None)
        if lacking is not None:
            raise ModelError(
                f"{folder} has no {lacking}; expected a Whisper model in CTranslate2's format, as"
                " ct2-transformers-converter --copy_files tokenizer.json makes it"
            )
        try:
            model = WhisperModel(str(folder), device="cpu", local_files_only=True)
        except (RuntimeError, ValueError, OSError) as error:
            said = " ".join(str(error).split())[:200]
            raise ModelError(f"{folder} is no Whisper model that can be run: {said}") from error
        if language is not None and language not in model.supported_languages:
            raise UsageError(
                f"language {language!r} is none of the model's: "
                + ", ".join(model.supported_languages)
            )
        with (folder / "model.bin").open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()[:12]
        name = f"faster-whisper {version('faster-whisper')} {folder.name} {digest}"
        return cls(model, name, language)

    def listen(self, sound: NDArray[np.float32], begin: float, name: str) -> tuple[CuesRead, str]:
        """Return the lines said in a video's sound, and their language; silence is passed over."""
        found, last = CuesRead(), len(sound) / RATE
        try:
            segments, told = self.model.transcribe(
                sound, language=self.language, vad_filter=True, condition_on_previous_text=False
            )
            for each in segments:
                where = f"what is said in {name} at {begin + each.start:.1f} s"
                if each.start >= last:
                    found.note(f"{where} is after its sound")
                elif each.text.strip():
                    stop = begin + min(each.end, last)
                    found.add(begin + each.start, stop, each.text.strip(), where)
        except (RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise ExecutionError(f"{self.name} failed: {said}", operator="Speech") from error
        return found, str(told.language)


def hear_speech(
    store: Store, videos: Sequence[Video], listener: SpeechListener
) -> Iterator[tuple[str, Taken]]:
    """Hear what is said in stored videos; yield what came, each video stored before the next.

    A video that the same model has heard in the same language is left as it is.
    """
    digest = f"{listener.name} {listener.language or 'any language'}"
    for video in videos:
        if video.status == "quarantined":
            continue
        known = {part.source: part for part in store.transcripts.listed([video.video_id])}
        if SOURCE in known and known[SOURCE].digest == digest:
            part = known[SOURCE]
            yield (
                video.name,
                Taken(SOURCE, part.num_lines, part.damaged, part.damage, part.language),
            )
            continue
        try:
            sound = read_sound(place_of(video.path))
        except VideoError as error:
            yield video.name, Taken(SOURCE, error=str(error))
            continue
        reading, language = CuesRead(), listener.language
        if sound is not None:
            reading, language = listener.listen(sound[1], sound[0], video.name)
        yield (
            video.name,
            put_read(store, video.video_id, SOURCE, digest, reading, language=language),
        )
