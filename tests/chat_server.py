"""A small server of the OpenAI form on this machine: it answers as a test says, by real HTTP."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass
class Reply:
    """What the server sends: a body at once, or pieces as events, with pauses before them."""

    body: bytes = b""
    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    events: list[str] | None = None
    pause: float = 0.0


@dataclass
class Came:
    """A request that came."""

    path: str
    key: str | None
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """All words of the last turn."""
        content = self.body["messages"][-1]["content"]
        if isinstance(content, str):
            return content
        return "\n".join(part["text"] for part in content if part["type"] == "text")

    @property
    def pictures(self) -> list[NDArray[np.uint8]]:
        """The pictures of the last turn, decoded."""
        return [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
            for part in self.body["messages"][-1]["content"]
            if part["type"] == "image_url"
            for url in [part["image_url"]["url"]]
        ]


Answer = Callable[[Came], Reply]


def said(text: str, code: int = 200, **headers: str) -> Reply:
    """A chat completion."""
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return Reply(json.dumps(body).encode(), code, headers)


def streamed(*pieces: str, done: bool = True, pause: float = 0.0) -> Reply:
    """A chat completion in pieces."""
    events = [json.dumps({"choices": [{"delta": {"content": piece}}]}) for piece in pieces]
    return Reply(events=[*events, *(["[DONE]"] if done else [])], pause=pause)


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[Came]]]:
    """Run the server; its URL, and the requests that come."""
    came: list[Came] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            came.append(Came(self.path, self.headers["Authorization"], data))
            reply = answer(came[-1])
            over.wait(reply.pause)
            with suppress(OSError):  # nobody waited
                self._send(reply)

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.code)
            for name, value in reply.headers.items():
                self.send_header(name.replace("_", "-"), value)
            if reply.events is None:
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
                return
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for event in reply.events:
                self.wfile.write(f"data: {event}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.001)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", came
        finally:
            over.set()
            server.shutdown()
            thread.join()
