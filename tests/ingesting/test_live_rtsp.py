"""RTSP as a server of another make speaks it: seen as shown, also after it was killed."""

import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from engine.ingesting.live import LiveBounds, LiveRecorder
from tests.ingesting.test_live import attempts_follow_each_other_soon, needs_ffmpeg
from tests.rtsp import PACKAGES, Camera, is_there, mark, read_marks, serving
from tests.waiting import LONG

FPS = 20
__all__ = ["attempts_follow_each_other_soon"]  # a fixture of all tests here


@needs_ffmpeg
@pytest.mark.skipif(not is_there(), reason=f"no RTSP server; Debian: {PACKAGES}")
def test_a_camera_that_is_killed_and_talks_nonsense(tmp_path: Path) -> None:
    seen = list[int]()  # the numbers of pictures, read from what came of them

    def take(recorder: LiveRecorder, camera: Camera) -> None:
        """Take until there is a picture that is shown a second from now."""
        stop, number = time.monotonic() + LONG, len(camera.shown) + FPS
        while not seen or seen[-1] < number:
            assert time.monotonic() < stop, recorder.fault
            if (segment := recorder.take(0.2)) is not None:
                seen.extend(read_marks(segment.path))

    def picture(number: int) -> np.ndarray:
        return mark(np.full((64, 64, 3), 99, np.uint8), number)

    bounds = LiveBounds(segment_seconds=1.0, silence_seconds=30.0)
    with Camera(picture, FPS) as camera:
        with serving() as server:
            camera.show_to(server)
            with LiveRecorder(server.url, tmp_path, "gate", bounds) as recorder:
                take(recorder, camera)
                server.process.kill()
                server.process.wait()
                with socket.create_server(("127.0.0.1", server.port)) as nonsense:
                    peer, _ = nonsense.accept()
                    with peer:
                        peer.sendall(b"RTSP/1.0 200 \xff\x00\r\n" + bytes(range(256)) * 40)
                with serving(server.port) as again:
                    camera.show_to(again)
                    take(recorder, camera)
        assert recorder.lost >= 2
        assert recorder.dropped == 0
    steps = np.diff(seen)
    assert steps.min() == 1  # none twice
    assert (steps > 1).sum() == 1  # and left out are those that nobody served


@needs_ffmpeg
@pytest.mark.skipif(not is_there(), reason=f"no RTSP server; Debian: {PACKAGES}")
def test_a_server_that_is_frozen_is_a_lost_connection(tmp_path: Path) -> None:
    """Also where libav would go on: it lost a picture then, and the next was built on another."""
    segments = list[list[int]]()

    def take(recorder: LiveRecorder, camera: Camera) -> None:
        stop, number = time.monotonic() + LONG, len(camera.shown) + FPS
        while not segments or segments[-1][-1] < number:
            assert time.monotonic() < stop, recorder.fault
            if (segment := recorder.take(0.2)) is not None:
                segments.append(read_marks(segment.path))

    def picture(number: int) -> np.ndarray:
        return mark(np.full((64, 64, 3), 99, np.uint8), number)

    bounds = LiveBounds(segment_seconds=1.0, silence_seconds=1.0)
    with (
        serving() as server,
        Camera(picture, FPS) as camera,
        LiveRecorder(server.url, tmp_path, "gate", bounds) as recorder,
    ):
        camera.show_to(server)
        take(recorder, camera)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(1.7 * bounds.silence_seconds)
        server.process.send_signal(signal.SIGCONT)
        take(recorder, camera)
        assert recorder.lost >= 1
    seen = [number for segment in segments for number in segment]
    assert np.diff(seen).min() == 1  # none twice
    assert all((np.diff(segment) == 1).all() for segment in segments)  # each built on its own
