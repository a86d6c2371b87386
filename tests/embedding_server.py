"""A server of embeddings that speaks as OpenAI's does, over real HTTP, and can misbehave."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

CELLS = 4
DIMENSION = 3 * CELLS**2
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
Reply = tuple[int, bytes, dict[str, str]]
SILENT = 0  # a status that is none: nothing is answered


@dataclass
class EmbeddingServer:
    """What it was asked, and how it answers instead of well, request by request."""

    instead: list[Callable[[list[list[float]]], Reply | None]] = field(default_factory=list)
    most_bytes: int = 1 << 30  # of a request
    asked: list[tuple[str, str | None, int]] = field(default_factory=list)  # path, key, inputs
    told: list[str] = field(default_factory=list)  # texts
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)


def of_picture(url: str) -> list[float]:
    """Mean colours of cells, less the middle."""
    assert url.startswith("data:image/jpeg;base64,")
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    small = np.asarray(image.resize((CELLS, CELLS), Image.Resampling.BOX), float) / 255
    return [float(each) for each in (small - 0.25).flatten()]


def of_text(text: str) -> list[float]:
    """A picture of the colour that it names."""
    colour = next((rgb for name, rgb in COLOURS.items() if name in text.lower()), (255, 255, 255))
    return [each / 255 - 0.25 for _ in range(CELLS**2) for each in colour]


def vectors(body: dict[str, Any]) -> tuple[list[list[float]], list[str]]:
    """What its models see; `rolled` takes each colour of a picture for the next one."""
    rows, texts = _vectors(body)
    if body["model"] == "rolled" and not texts:
        rows = [np.roll(np.reshape(row, (-1, 3)), 1, 1).flatten().tolist() for row in rows]
    return rows, texts


def _vectors(body: dict[str, Any]) -> tuple[list[list[float]], list[str]]:
    if "messages" in body:
        [content] = [message["content"] for message in body["messages"]]
        return [of_picture(content[0]["image_url"]["url"])], []
    given = body["input"]
    if body.get("modality") == "image":
        return [of_picture(each) for each in given], []
    texts = [each for each in given if isinstance(each, str)]
    return [
        of_text(each) if isinstance(each, str) else of_picture(each["image"]) for each in given
    ], texts


def packed(rows: list[list[float]]) -> Reply:
    """A good answer, its rows in another order, as is allowed."""
    data = [{"index": at, "embedding": row} for at, row in enumerate(rows)]
    return 200, json.dumps({"data": data[::-1]}).encode(), {}


def code(status: int, **headers: str) -> Callable[[list[list[float]]], Reply]:
    """An error that tells the key it was sent, as some do."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: (status, b'{"error": {"message": "wrong key sk-very-secret"}}', told)


@contextmanager
def embedding_server() -> Iterator[EmbeddingServer]:
    """Serve in threads until the block ends."""
    told = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(size))
            rows, texts = vectors(body)
            told.asked.append((self.path, self.headers["Authorization"], len(rows)))
            told.told += texts
            reply = None
            if size > told.most_bytes:
                reply = code(413)(rows)
            elif told.instead:
                reply = told.instead.pop(0)(rows)
            status, data, headers = reply or packed(rows)
            if status == SILENT:
                told.over.wait(120)
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield told
        finally:
            told.over.set()
            server.shutdown()
            thread.join()
