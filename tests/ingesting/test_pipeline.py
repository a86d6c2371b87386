"""One ingest on several devices: the rows of one device, the choices said, an end when asked."""

import pytest

from engine.errors import UsageError
from engine.ingest import IngestOptions, ingest
from engine.ingesting import pipeline, tasks
from engine.storage.store import Store
from engine.vision.model import load_model, pick_devices


@pytest.fixture(scope="module")
def builtin():
    return load_model("builtin", device="cpu")


@pytest.mark.slow
def test_rows_do_not_depend_on_the_number_of_devices(
    builtin, make_clip, stored, listener, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(tasks, "_TINY", 0)
    for seed in range(3):
        make_clip(tmp_path / f"{seed}.mp4", 4, seed=seed)
    found = []
    for devices, apart in (((), False), ((), True), (("cpu", "cpu"), False)):
        options = IngestOptions(strategy="earlygate", devices=devices, apart=apart, workers=1)
        with Store.open(tmp_path / f"data{len(found)}") as store:
            heard = listener()
            report = ingest(
                store, builtin, [tmp_path / f"{n}.mp4" for n in range(3)], options, heard
            )
            found.append((stored(store, builtin.space.key), store.verify()))
        assert report.frames == report.rows == 24
        assert {event.stage for event in heard.events} == {"decode", "encode", "write"}
        assert report.device == (", ".join(devices) or "cpu")
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("seconds", "apart"), [(10, False), (20, True)])
def test_few_frames_are_not_worth_a_process(
    builtin, make_clip, tmp_path, monkeypatch, seconds: int, apart: bool
) -> None:
    """A live camera brings a few at a time: starting a process takes longer than all of them."""
    made = []
    monkeypatch.setattr(pipeline, "spread", lambda *_, **__: iter(made.append("process") or ()))
    make_clip(tmp_path / "one.mp4", seconds)
    options = IngestOptions(fps=4.0, strategy="dense", apart=True)
    with Store.open(tmp_path / "data") as store:
        report = ingest(store, builtin, [tmp_path / "one.mp4"], options)
    assert made == ["process"] * apart
    assert report.rows == (0 if apart else 40)


@pytest.mark.slow
def test_auto_chooses_by_itself_in_a_process_of_its_own(
    builtin, make_clip, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(tasks, "_TINY", 0)
    for seed in range(2):
        make_clip(tmp_path / f"{seed}.mp4", 8, seed=seed)
    options = IngestOptions(apart=True, workers=1, streams=1, weigh_from=32)
    with Store.open(tmp_path / "data") as store:
        report = ingest(store, builtin, [tmp_path], options)
        assert store.verify() == []
    assert report.rows == 32
    assert report.choices
    named = {each["strategy"] for choice in report.choices for each in choice["weighed"]}
    assert set(report.strategy.split(", ")) <= named
    assert report.choice.startswith(report.choices[0]["strategy"])


@pytest.mark.slow
def test_auto_is_decided_once_for_all_devices(builtin, make_clip, tmp_path) -> None:
    for seed in range(2):
        make_clip(tmp_path / f"{seed}.mp4", 8, seed=seed)
    options = IngestOptions(devices=("cpu", "cpu"), workers=1, streams=1, weigh_from=32)
    with Store.open(tmp_path / "data") as store:
        report = ingest(store, builtin, [tmp_path], options)
    assert {video.outcome for video in report.videos} == {"ready"}
    assert report.rows == 32
    [choice] = report.choices  # by the engine's own device alone
    assert set(report.strategy.split(", ")) <= {each["strategy"] for each in choice["weighed"]}
    assert report.choice.startswith(f"{choice['strategy']} for {choice['kind']} content: ")


def test_the_decoder_is_said(store, model, clips) -> None:
    report = ingest(store, model, [clips / "short.mp4"], IngestOptions(strategy="dense"))
    assert report.decoder == report.videos[0].decoder == "pyav: the model runs on cpu"
    options = IngestOptions(strategy="dense", decoder="pyav")
    assert ingest(store, model, [clips / "middle.mp4"], options).decoder == "pyav: as asked for"
    assert ingest(store, model, [clips / "middle.mp4"], options).decoder == "none"


def test_devices_are_named() -> None:
    assert pick_devices("") == ()
    assert pick_devices("cpu, cpu") == ("cpu", "cpu")
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        pick_devices("cpu,gpu")
