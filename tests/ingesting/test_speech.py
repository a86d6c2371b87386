"""What is said in a video becomes lines of a transcript, at the times at which it is said."""

import inspect
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import ExecutionError, ModelError, UsageError
from engine.ingesting.speech import SpeechListener, hear_speech
from engine.library import Library
from engine.session import Engine
from engine.video.sound import RATE, read_sound

SOUND = 48_000  # samples a second in the file


def write(path: Path, begin: float | None, sound: NDArray[np.float32]) -> None:
    """A grey video of six seconds with sound that begins later, or with none."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = None if begin is None else container.add_stream("pcm_s16le", rate=SOUND)
        if audio is not None:
            audio.layout = "mono"
        for _ in range(30):
            grey = np.full((48, 64, 3), 128, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(video.encode())
        for at in range(0, len(sound) if audio is not None else 0, 1024):
            part = (sound[at : at + 1024] * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.pts = SOUND, at + round((begin or 0.0) * SOUND)
            assert audio is not None
            container.mux(audio.encode(frame))
        if audio is not None:
            container.mux(audio.encode())


def tone(seconds: float, pitch: float) -> NDArray[np.float32]:
    at = np.arange(round(seconds * SOUND)) / SOUND
    return (0.5 * np.sin(2 * np.pi * pitch * at)).astype(np.float32)


@pytest.mark.parametrize("begin", [0.0, 1.5])
def test_a_samples_place_is_its_time(tmp_path: Path, begin: float) -> None:
    write(tmp_path / "a.mkv", begin, np.concatenate([tone(1.0, 440), tone(2.0, 1000)]))
    found = read_sound(tmp_path / "a.mkv")
    assert found is not None
    start, samples = found
    assert start == pytest.approx(begin, abs=0.01)
    assert len(samples) == pytest.approx(3 * RATE, abs=0.02 * RATE)
    for seconds, pitch in ((0.5, 440), (2.0, 1000)):
        around = samples[round((seconds - 0.25) * RATE) :][: RATE // 2]
        assert np.abs(np.fft.rfft(around)).argmax() * 2 == pytest.approx(pitch, abs=4)
    write(tmp_path / "b.mkv", None, tone(1.0, 440))
    assert read_sound(tmp_path / "b.mkv") is None


class Heard:
    """Has the interface of faster_whisper.WhisperModel; says when the sound is loud."""

    def __init__(self) -> None:
        self.times = 0

    def transcribe(
        self,
        audio: NDArray[np.float32],
        language: str | None = None,
        vad_filter: bool = False,
        condition_on_previous_text: bool = True,
    ) -> tuple[Any, Any]:
        assert vad_filter
        assert not condition_on_previous_text
        self.times += 1
        loud = np.flatnonzero(np.abs(audio) > 0.25) / RATE
        if not len(loud):
            raise RuntimeError("nothing\nis loud")
        said = SimpleNamespace(start=loud[0], end=loud[-1], text=" a loud tone ")
        return iter([said]), SimpleNamespace(language=language or "la")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two videos: one in which it is loud from the third second on, one without sound."""
    quiet = np.zeros(SOUND, np.float32)
    write(tmp_path / "one.mkv", 2.0, np.concatenate([quiet, tone(1.0, 440)]))
    write(tmp_path / "two.mkv", None, quiet)
    with Engine.open(tmp_path / "data", device="cpu") as engine:
        engine.register(tmp_path / "one.mkv")
        engine.register(tmp_path / "two.mkv")
    return tmp_path / "data"


def test_what_is_heard_is_stored_by_video_and_found(store: Path) -> None:
    heard = Heard()
    with Library.open(store) as library:
        listener = SpeechListener(heard, "made up 1")
        told = dict(hear_speech(library.store, library.videos(), listener))
        assert [(t.lines, t.language, t.fresh) for t in told.values()] == [
            (1, "la", True), (0, None, True),
        ]  # fmt: skip
        again = dict(hear_speech(library.store, library.videos(), listener))
        assert [(t.lines, t.language, t.fresh) for t in again.values()] == [
            (1, "la", False), (0, None, False),
        ]  # fmt: skip
        assert heard.times == 1
        other = SpeechListener(heard, "made up 1", "en")
        assert next(hear_speech(library.store, library.videos(), other))[1].fresh
    with Engine.open(store, device="cpu") as engine:
        sql = "SELECT start_seconds, stop_seconds, text, source, language FROM transcript"
        (line,) = engine.sql(sql).rows()
        assert engine.sql("SELECT count(*) n FROM frames WHERE TEXT_MATCH(frame, 'loud')").rows()
    assert line["text"] == "a loud tone"
    assert (line["source"], line["language"]) == ("speech", "en")
    assert line["start_seconds"] == pytest.approx(3.0, abs=0.02)
    assert line["stop_seconds"] == pytest.approx(4.0, abs=0.02)
    with pytest.raises(ExecutionError, match="made up 1 failed: nothing is loud"):
        SpeechListener(Heard(), "made up 1").listen(np.zeros(9, np.float32), 0.0, "x")


def test_without_the_extra_or_a_model_it_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library.open(store) as library:
        monkeypatch.setitem(sys.modules, "faster_whisper", None)
        with pytest.raises(UsageError, match=r"dejavu-engine\[speech\]"):
            library.hear_speech(model=store)
        monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=None))
        with pytest.raises(ModelError, match=r"has no model\.bin; expected a Whisper model"):
            library.hear_speech(model=store)


def test_a_model_of_the_real_kind_is_run(tmp_path: Path) -> None:
    """It was never trained, so of what it says the form alone can be looked at."""
    whisper = pytest.importorskip("faster_whisper", reason="needs dejavu-engine[speech]")
    taken = inspect.signature(whisper.WhisperModel.transcribe).parameters
    own = inspect.signature(Heard.transcribe).parameters
    assert {*own} <= {*taken}
    from tests.ingesting.tiny_whisper import made_whisper

    folder = made_whisper(tmp_path)
    listener = SpeechListener.load(folder, language="en")
    assert listener.name.startswith("faster-whisper 1.")
    assert " whisper " in listener.name
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        pytest.skip("no espeak-ng")
    words = "A red star moves to the left. Then a blue ring appears."
    subprocess.run([espeak, "-w", str(tmp_path / "said.wav"), words], check=True)
    with wave.open(str(tmp_path / "said.wav")) as file:
        told = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
        at = np.arange(0, len(told) / file.getframerate(), 1 / SOUND) * file.getframerate()
    said = np.interp(at, np.arange(len(told)), told).astype(np.float32)
    write(tmp_path / "said.mkv", 0.0, said)
    sound = read_sound(tmp_path / "said.mkv")
    assert sound is not None
    reading, language = listener.listen(sound[1], 5.0, "said")
    assert language == "en"
    assert len(reading.lines) + reading.damaged > 0
    for line in reading.lines:
        assert 5.0 <= line.start_seconds < line.stop_seconds <= 5.0 + len(sound[1]) / RATE
    silent, _ = listener.listen(np.zeros(3 * RATE, np.float32), 0.0, "silence")
    assert not silent.lines
    with pytest.raises(UsageError, match="language 'xx' is none of the model's: "):
        SpeechListener.load(folder, language="xx")
    (folder / "model.bin").write_bytes(b"no model")
    with pytest.raises(ModelError, match="is no Whisper model that can be run"):
        SpeechListener.load(folder)
