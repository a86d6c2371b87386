"""Live streams over HTTP: playlists that grow, and cameras that send picture after picture."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np

from engine.ingesting.live import LiveBounds, LiveRecorder
from engine.video.write import write_h264
from tests.ingesting.test_live import FFMPEG, attempts_follow_each_other_soon, greys, needs_ffmpeg
from tests.waiting import LONG, until

__all__ = ["attempts_follow_each_other_soon"]  # a fixture of all tests here
FRAMES, FPS = 40, 10
Answer = Callable[[str, BaseHTTPRequestHandler], None]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Answer requests for paths; give where."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            answer(self.path, self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@needs_ffmpeg
def test_a_playlist_is_silent_between_its_files(tmp_path: Path) -> None:
    """And no connection is lost for that, nor a picture."""
    clip = tmp_path / "clip.mp4"
    images = [np.full((64, 64, 3), 16 + 3 * n, np.uint8) for n in range(FRAMES)]
    write_h264(clip, images, FPS, gop=FPS, bframes=0)
    assert FFMPEG
    hls = ("-f", "hls", "-hls_time", "2", "-hls_list_size", "0", tmp_path / "whole.m3u8")
    subprocess.run([FFMPEG, "-v", "error", "-i", clip, "-c", "copy", *hls], check=True)
    files = [line for line in (tmp_path / "whole.m3u8").read_text().split() if line[0] != "#"]
    assert len(files) == 2
    bounds = LiveBounds(segment_seconds=1.0, silence_seconds=1.0)
    began = time.monotonic()

    def answer(path: str, to: BaseHTTPRequestHandler) -> None:
        there = 1 if time.monotonic() < began + 1.6 * bounds.silence_seconds else 2
        head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"
        listed = "".join(f"#EXTINF:2,\n{name}\n" for name in files[:there])
        listed += "#EXT-X-ENDLIST\n" if there == 2 else ""
        whole = path.endswith(".m3u8")
        body = (head + listed).encode() if whole else (tmp_path / path.strip("/")).read_bytes()
        kind = "application/vnd.apple.mpegurl" if whole else "video/mp2t"
        to.send_header("Content-Type", kind)
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)

    with answering(answer) as url:
        with LiveRecorder(f"{url}/live.m3u8", tmp_path / "out", "gate", bounds) as recorder:
            until(lambda: recorder.lost)
            assert recorder.fault == "the stream ended"
        taken = iter(lambda: recorder.take(0), None)
        seen = [grey for segment in taken for grey in greys(segment.path)]
    assert np.abs(np.array(seen[:FRAMES]) - np.array(greys(clip))).max() <= 3


@needs_ffmpeg
def test_a_camera_that_sends_picture_after_picture(tmp_path: Path) -> None:
    """JPEG in parts of one answer, as many cameras do; each is dated as it comes."""
    assert FFMPEG
    shown = [*("-f", "lavfi", "-i", "testsrc=d=2:s=64x64:r=10"), *("-f", "image2pipe")]
    made = subprocess.run([FFMPEG, "-v", "error", *shown, "-"], check=True, capture_output=True)
    pictures = [b"\xff\xd8\xff" + part for part in made.stdout.split(b"\xff\xd8\xff")[1:]]
    assert len(pictures) == 20
    sent = list[float]()

    def answer(_: str, to: BaseHTTPRequestHandler) -> None:
        to.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        to.end_headers()
        for picture in pictures if not sent else ():
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            to.wfile.write(head.encode() + picture + b"\r\n")
            sent.append(time.monotonic())
            time.sleep(0.1)

    bounds = LiveBounds(segment_seconds=1.0, silence_seconds=LONG)
    with answering(answer) as url:
        with LiveRecorder(f"{url}/video", tmp_path / "out", "gate", bounds) as recorder:
            until(lambda: recorder.lost)
        found = list(iter(lambda: recorder.take(0), None))
    times = list[float]()
    for segment in found:
        with av.open(str(segment.path)) as made_of:
            begin = (segment.recorded_at - found[0].recorded_at).total_seconds()
            times += [begin + (frame.time or 0.0) for frame in made_of.decode(video=0)]
    assert len(found) >= 2
    assert len(times) >= len(pictures) - 2  # the last waits for more
    assert times == sorted(times)
    lasted = sent[len(times) - 1] - sent[0]
    assert times[-1] > 0.5 * lasted  # by the clock here, not by a pace that nobody keeps
