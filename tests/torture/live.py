"""A camera for minutes, with drops: what was shown is searchable soon, once, and told of once.

`python -m tests.torture.live --minutes 10` serves a made-up camera by RTSP (GStreamer's server, of
Debian's packages), brings it in with `live` beside `serve`, and each minute kills the server twice,
freezes it, and has nonsense spoken in its place. It prints the delay from when a picture was shown
until its row is found, the memory of both processes, and how often each happening was told of.
"""

import argparse
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from engine.client import Client
from engine.session import Engine
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames
from tests.api.test_alerts import receiving
from tests.rtsp import PACKAGES, Camera, Rtsp, is_there, mark, read_mark, serving
from tests.torture.server import Server, started
from tests.torture.shares import Passed, passed, table

FPS, SIDE = 10, 128
HAPPENS_EVERY, HAPPENS = 20.0, 3.0  # seconds
SEGMENT = 1.0  # seconds
SECRET = "a secret of the soak"
Image = NDArray[np.uint8]


@dataclass(slots=True)
class Seen:
    """What came of the camera: when each row was first found, and where it was told."""

    rows: dict[tuple[int, float], float] = field(default_factory=dict)
    rss: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    malloc: list[tuple[float, int]] = field(default_factory=list)  # of `serve`
    worked: dict[str, float] = field(default_factory=dict)  # processor seconds
    drops: list[tuple[str, float, float]] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)


def scenes() -> tuple[list[Image], list[Image], str, float]:
    """Return pictures of a quiet scene and of another, a text for that one and a score between."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(40, 60):
            clips = [make_clip(number, "test", duration_seconds=4.0) for number in (seed, seed + 1)]
            shown = [list(render_frames(clip, SIDE)) for clip in clips]
            root = Path(folder) / str(seed)
            with Engine.open(root, device="cpu") as engine:
                for name, images in zip("ab", shown, strict=True):
                    marked = [mark(image, 0xA5A5) for image in images]
                    write_h264(root / f"{name}.mp4", marked, FPS, gop=FPS, bframes=0)
                    engine.ingest(root / f"{name}.mp4", strategy="dense", fps=4)
                found = engine.sql(
                    "SELECT name, CLIP_MATCH(frame, $text) AS score FROM frames"
                    " JOIN videos USING (video_id)",
                    text=clips[1].caption,
                )
                scores = {name: list[float]() for name in ("a.mp4", "b.mp4")}
                for row in found.arrow().to_pylist():
                    scores[row["name"]].append(row["score"])
            quiet, other = max(scores["a.mp4"]), min(scores["b.mp4"])
            if other > quiet + 0.1:
                return shown[0], shown[1], clips[1].caption, (other + quiet) / 2
    raise AssertionError("no two scenes are far apart")


def happens(number: int) -> int | None:
    """Return which happening a picture is of, if of one."""
    which, since = divmod(number / FPS, HAPPENS_EVERY)
    return int(which) if 5.0 <= since < 5.0 + HAPPENS else None


@contextmanager
def thread(work: Callable[[], None]) -> Iterator[None]:
    """Have it done meanwhile; its end is awaited."""
    running = threading.Thread(target=work)
    running.start()
    try:
        yield
    finally:
        running.join()


class Soak:
    """One run."""

    def __init__(self, minutes: float, server: Server, camera: Camera, data: Path) -> None:
        self.seconds, self.server, self.camera, self.data = minutes * 60, server, camera, data
        self.client = Client(f"http://127.0.0.1:{server.port}")
        self.seen, self.ended = Seen(), threading.Event()
        self.stack = ExitStack()

    def disturb(self, rtsp: Rtsp) -> None:
        """Serve on one port, and every minute be killed, frozen and replaced by nonsense."""
        turns = [
            (12.0, "killed"),
            (26.0, "killed in a happening"),
            (34.0, "frozen"),
            (52, "babble"),
        ]
        began, current = time.time(), self.stack.enter_context(serving(rtsp.port))
        self.camera.show_to(current)
        for minute in range(int(self.seconds // 60) + 1):
            for at, how in turns:
                if self.ended.wait(max(0.0, began + 60 * minute + at - time.time())):
                    return
                if time.time() > began + self.seconds - 8:
                    return
                since = time.time()
                if how == "frozen":
                    current.process.send_signal(signal.SIGSTOP)
                    time.sleep(5)
                    current.process.send_signal(signal.SIGCONT)
                else:
                    current.process.kill()
                    current.process.wait()
                    if how == "babble":
                        self._babble(rtsp.port)
                    elif how == "killed":
                        time.sleep(2)
                    current = self.stack.enter_context(serving(rtsp.port))
                    self.camera.show_to(current)
                self.seen.drops.append((how, since, time.time()))

    def _babble(self, port: int) -> None:
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(3)
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                return
            with peer:
                peer.sendall(b"RTSP/1.0 200 \xff\x00\r\n" + os.urandom(20_000))

    def look(self) -> None:
        """Ask for the newest rows a few times a second."""
        newest = 0
        while not self.ended.wait(0.25):
            found = self.client.sql(
                "SELECT video_id, seconds, CLIP_MATCH(frame, 'a shape') AS score FROM frames"
                f" WHERE video_id >= {newest}"
            )
            at = time.time()
            for row in found.arrow().to_pylist():
                if row["score"] is not None:
                    self.seen.rows.setdefault((row["video_id"], row["seconds"]), at)
            newest = max([newest, *(video for video, _ in self.seen.rows)])

    def weigh(self, pids: dict[str, int]) -> None:
        """Note each second what processes hold."""
        began = time.time()
        while not self.ended.wait(1.0):
            for name, pid in pids.items():
                with suppress(OSError):  # it has ended
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    size = pages * os.sysconf("SC_PAGE_SIZE")
                    self.seen.rss.setdefault(name, []).append((time.time() - began, size))
                    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                    self.seen.worked[name] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
            if (given := self.server.allocated()) is not None:
                self.seen.malloc.append((time.time() - began, given))

    def hear(self, lines: Iterator[str]) -> None:
        """Count what `live` tells."""
        for line in lines:
            told = json.loads(line)
            self.seen.events[told["event"]] += 1
            if told["event"] == "failed":
                sys.stderr.write(line)

    def delays(self) -> tuple[list[tuple[float, float, Passed]], list[float], int]:
        """Return when each row was shown and found, and how often pictures came twice.

        First of pictures that were shown while the stream was served, with what passed meanwhile,
        then the delay of those shown in a drop, or in the segment that it cut short, which waits
        until the drop is noticed.
        """
        names = {video.video_id: video.name for video in self.client.videos("gate-*")}
        calm, disturbed = list[tuple[float, float, Passed]](), list[float]()
        pictures, stations = Counter[int](), passed(self.client, self.data / "live/gate")
        numbers = dict[tuple[int, float], int]()
        for video, name in names.items():
            with av.open(str(self.data / "live/gate" / name)) as container:
                for packet in container.demux(video=0):
                    with suppress(av.InvalidDataError):  # where the server was killed
                        for frame in packet.decode():
                            number = read_mark(frame.to_ndarray(format="gray"))
                            pictures[number] += 1
                            numbers[video, round(frame.time or 0.0, 2)] = number
        for (video, seconds), found in self.seen.rows.items():
            if video in names:
                shown = self.camera.shown[numbers[video, round(seconds, 2)]]
                drops = [1 for _, at, end in self.seen.drops if at - SEGMENT <= shown <= end]
                if drops:
                    disturbed.append(found - shown)
                else:
                    calm.append((shown, found, stations[names[video]]))
        return calm, disturbed, sum(count - 1 for count in pictures.values())


def told_of(taken: list[tuple[dict[str, str], bytes]], shown: list[float]) -> Counter[int | None]:
    """Count by happening what a webhook was told, each delivery once; signatures must hold."""
    counted = Counter[int | None]()
    for body in {
        headers["X-Dejavu-Delivery"]: _signed(headers, body) for headers, body in taken
    }.values():
        told = json.loads(body)
        at = datetime.fromisoformat(told["recorded_at"]).astimezone(UTC).timestamp()
        first = min(told["moments"], key=lambda each: each["start_seconds"])
        peak = at + first["peak_seconds"]
        number = int(np.argmin(np.abs(np.array(shown) - peak)))
        near = {happens(number + step) for step in range(-FPS, FPS + 1)} - {None}
        counted[min(near) if near else None] += 1
        if not near:
            _say(f"of nothing: at {number / FPS:.1f} s")
    return counted


def _signed(headers: dict[str, str], body: bytes) -> bytes:
    at, _, mac = headers["X-Dejavu-Signature"].partition(",v1=")
    expected = hmac.new(SECRET.encode(), at[2:].encode() + b"." + body, hashlib.sha256)
    assert hmac.compare_digest(mac, expected.hexdigest())
    return body


def slope(points: list[tuple[float, int]]) -> float:
    """Return MiB a minute: from the median of the middle third to that of the last."""
    third = len(points) // 3
    (begun, held), (ended, holds) = (
        np.median(np.array(part), axis=0) for part in (points[third : 2 * third], points[-third:])
    )
    return float((holds - held) / 2**20 / (ended - begun) * 60)


def trend(points: list[tuple[float, int]]) -> tuple[float, float]:
    """Return MiB a minute over the second half, and how far that may be off at 95 %.

    By the least of every ten seconds: what statements hold while they run is left out.
    """
    begun = points[len(points) // 2][0]
    least = dict[int, int]()
    for at, size in points[len(points) // 2 :]:
        window = int((at - begun) // 10)
        least[window] = min(size, least.get(window, size))
    minutes, sizes = np.array([*least]) / 6, np.array([*least.values()]) / 2**20
    if len(least) < 4:
        return 0.0, np.inf
    (rate, _), covariance = np.polyfit(minutes, sizes, 1, cov=True)
    return float(rate), 2 * float(np.sqrt(covariance[0, 0]))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    if not is_there():
        sys.exit(f"no RTSP server; Debian: {PACKAGES}")
    quiet, other, text, score = scenes()

    def picture(number: int) -> Image:
        images = quiet if happens(number) is None else other
        return mark(images[number % len(images)], number)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hook, taken = stack.enter_context(receiving())
        server = stack.enter_context(started(folder, {"webhook_hosts": hook}))
        camera = stack.enter_context(Camera(picture, FPS))
        soak = Soak(given.minutes, server, camera, folder / "store")
        stack.enter_context(soak.stack)
        soak.client.tag(1, {"camera": "none"})
        standing = {"name": "other", "text": text, "min_score": score, "where": "camera = 'gate'"}
        soak.client.call(
            "POST", "/standing", {**standing, "url": f"http://{hook}/", "secret": SECRET}
        )
        soak.client.ingest(server.clips / "0.mp4", fps=4, strategy="dense")  # loads what is needed
        soak.client.query(text)
        with socket.create_server(("127.0.0.1", 0)) as free:
            rtsp = Rtsp(free.getsockname()[1], None)
        command = [
            *(sys.executable, "-c", "from api.cli.start import main; main()", "live", rtsp.url),
            *(
                "--name",
                "gate",
                "--seconds",
                "1",
                "--silence",
                "3",
                "--json",
                "--strategy",
                "dense",
            ),
            *("--data", str(folder / "store")),
        ]
        live = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert live.stdout is not None
        lines = iter(live.stdout)
        with (
            thread(lambda: soak.hear(lines)),
            thread(lambda: soak.disturb(rtsp)),
            thread(soak.look),
            thread(lambda: soak.weigh({"serve": server.pid, "live": live.pid})),
        ):
            try:
                time.sleep(soak.seconds)
                live.send_signal(signal.SIGINT)
                live.wait(60)
                time.sleep(2)
            finally:
                live.kill()
                soak.ended.set()
        failed = report(soak, told_of(taken, camera.shown))
    sys.exit(1 if failed else 0)


def report(soak: Soak, told: Counter[int | None]) -> list[str]:
    """Print what was seen; return what should not be."""
    served, disturbed, twice = soak.delays()
    calm = [found - shown for shown, found, _ in served]
    faults = []
    for name, delays in (("served", calm), ("in drops", disturbed)):
        if delays:
            p50, p99, most = np.quantile(delays, (0.5, 0.99, 1.0))
            said = f"delay p50 {p50:.2f} s, p99 {p99:.2f} s, most {most:.2f} s"
            _say(f"{name:9} {len(delays)} rows, {said}")
    for line in table(served):
        _say(line)
    p99 = float(np.quantile(calm, 0.99))
    faults += [f"delay p99 {p99:.2f} s"] if p99 > 3 else []
    faults += [f"{twice} pictures came twice"] if twice else []
    for name, points in soak.seen.rss.items():
        held = [size >> 20 for _, size in points]
        _say(
            f"{name:9} {held[0]} MiB, most {max(held)}, last {held[-1]};"
            f" {slope(points):+.2f} MiB/min;"
            f" {soak.seen.worked[name] / points[-1][0]:.0%} of a processor"
        )
        faults += [f"{name} grows"] if slope(points) > 2 else []
    if points := soak.seen.malloc:
        rate, reach = trend(points)
        held = f"{points[0][1] >> 20} MiB, last {points[-1][1] >> 20}"
        _say(f"malloc    {held}; in the second half {rate:+.2f} ± {reach:.2f} MiB/min")
        faults += ["serve may hold ever more"] if rate + reach > 2 else []
    until = int(soak.seconds * FPS) - 10 * FPS  # what ends later may not have been told yet
    whole = {number for n in range(until) if (number := happens(n)) is not None}
    whole -= {happens(until)}
    wrong = {number: told[number] for number in whole if told[number] != 1}
    _say(
        f"happened  {len(whole)} times, told {sum(told.values())}: not once {wrong},"
        f" of nothing {told[None]}"
    )
    faults += [f"not told once: {wrong}"] if wrong else []
    faults += [f"{told[None]} told of nothing"] if told[None] else []
    drops = Counter(how for how, *_ in soak.seen.drops)
    _say(f"drops     {dict(drops)}; {dict(soak.seen.events)}")
    for fault in faults:
        _say(f"FAULT     {fault}")
    return faults


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
