"""An RTSP server of Debian's packages (GStreamer's), and a camera that writes pictures to it."""

import fcntl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

BITS = 16  # of a picture's number
PYTHON = "/usr/bin/python3"  # Debian's own, which has GStreamer's bindings
PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
_IMPORTS = """
import os
import sys
import threading
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
needed = ("appsrc", "h264parse", "rtph264pay")
missing = [name for name in needed if not Gst.ElementFactory.find(name)]
assert not missing, missing
"""
_PROGRAM = f"""{_IMPORTS}
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(
    "( appsrc name=src is-live=true do-timestamp=true format=time"
    " caps=video/x-h264,stream-format=byte-stream ! h264parse"
    " ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)
factory.set_shared(True)
watched = []
def configure(_, media):
    source = media.get_element().get_by_name("src")
    watched.append(source)
    media.connect("unprepared", lambda _: watched.remove(source))
factory.connect("media-configure", configure)
def pass_on():
    while data := os.read(0, 1 << 16):  # what nobody watches is gone
        for source in list(watched):
            source.emit("push-buffer", Gst.Buffer.new_wrapped(data))
threading.Thread(target=pass_on, daemon=True).start()
server.get_mount_points().add_factory("/cam", factory)
assert server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


@cache
def is_there() -> bool:
    """Whether this machine has what it takes."""
    with suppress(OSError):
        return subprocess.run([PYTHON, "-c", _IMPORTS], capture_output=True).returncode == 0
    return False


@dataclass(frozen=True, slots=True)
class Rtsp:
    """A server that serves what is written to its standard input."""

    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Where it is watched."""
        return f"rtsp://127.0.0.1:{self.port}/cam"


@contextmanager
def serving(port: int = 0) -> Iterator[Rtsp]:
    """Serve on a port, any that is free by default; killed at the end."""
    command = [PYTHON, "-c", _PROGRAM, str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, 1 << 20)  # for a server that is frozen
        assert process.stdout is not None
        yield Rtsp(int(process.stdout.readline()), process)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def mark(picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Write a number into a strip at the foot of a picture, a block black or white for each bit."""
    marked = picture.copy()
    height, width = picture.shape[0] // 8, picture.shape[1] // BITS
    for bit in range(BITS):
        block = slice(bit * width, (bit + 1) * width)
        marked[-height:, block] = 255 if number >> bit & 1 else 0
    return marked


def read_marks(path: Path) -> list[int]:
    """Return the numbers in a file's pictures, as the program ffmpeg decodes them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        height, width = stream.height, stream.width
    # each picture as it is: ffmpeg would give one twice where the next is late
    as_it_is = ("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray")
    told = ["ffmpeg", "-v", "error", "-i", path, *as_it_is, "-"]
    raw = subprocess.run(told, check=True, capture_output=True).stdout
    return [read_mark(each) for each in np.frombuffer(raw, np.uint8).reshape(-1, height, width)]


def read_mark(grey: NDArray[np.uint8]) -> int:
    """Return the number in a picture `[H, W]`."""
    height, size = grey.shape[0] // 8, grey.shape[1] // BITS
    blocks = grey[-height:, : BITS * size].reshape(height, BITS, size)
    return int(((blocks.mean(axis=(0, 2)) > 128) * 2 ** np.arange(BITS)).sum())


class Camera:
    """Shows pictures at a pace, in a thread, to whatever server is there; a key picture a second.

    `shown` is when each picture was, by its number, on the clock of `time.time`.
    """

    def __init__(self, picture: Callable[[int], NDArray[np.uint8]], fps: int) -> None:
        self._picture, self._fps = picture, fps
        self._server: Rtsp | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.shown: list[float] = []

    def __enter__(self) -> "Camera":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def show_to(self, server: Rtsp | None) -> None:
        """Show to another server from now on, or to nobody."""
        self._server = server

    def _run(self) -> None:
        encoder, server, began = None, None, time.time()
        while not self._ended.wait(max(0, began + len(self.shown) / self._fps - time.time())):
            picture = self._picture(len(self.shown))
            self.shown.append(time.time())
            if server is not self._server or encoder is None:
                server, encoder = self._server, self._encoder(picture)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = len(self.shown)
            for packet in encoder.encode(frame):
                if server is not None and server.process.stdin is not None:
                    with suppress(OSError, ValueError):  # it was killed
                        server.process.stdin.write(bytes(packet))
                        server.process.stdin.flush()

    def _encoder(self, picture: NDArray[np.uint8]) -> VideoCodecContext:
        made = av.CodecContext.create("libx264", "w")
        made.height, made.width = picture.shape[:2]
        made.pix_fmt, made.max_b_frames, made.gop_size = "yuv420p", 0, self._fps
        made.time_base, made.framerate = Fraction(1, self._fps), Fraction(self._fps)
        made.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "18"}
        made.options |= {"x264-params": "sliced-threads=0:aud=1"}  # a picture is a unit of its own
        return made
