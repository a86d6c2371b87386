"""A model behind an OpenAI-compatible URL that takes pictures."""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import IncompleteRead
from typing import Any, Final
from urllib.parse import urlsplit

from engine.answering.chat import ChatTurn, Tell, Wish, silent
from engine.errors import LookerError
from engine.vision.backbone.remote import BROKEN, NoRedirects
from schemas.letters import sayable

_AGAIN: Final = (429, 500, 502, 503, 504)
_LONGEST: Final = 20.0  # seconds that are waited before it is asked again
_MOST_BYTES: Final = 8 << 20  # of a reply
_MOST_SAID: Final = 160  # characters of what a server says of itself
_EVENTS: Final = "text/event-stream"
_PIECE: Final = 1 << 16  # bytes


class _LongReplyError(ValueError):
    """A reply is longer than any is."""


@dataclass(slots=True)
class _Arriving:
    """The bytes of a reply, of which some of use have to come within so many seconds."""

    answered: Any
    seconds: float
    since: float = field(default_factory=time.monotonic)

    def go_on(self) -> None:
        """Something of use came: give the next as long."""
        self.since = time.monotonic()

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        while data := self.answered.read1(_PIECE):
            size += len(data)
            if size > _MOST_BYTES:
                raise _LongReplyError
            yield data
            if time.monotonic() - self.since > self.seconds:
                raise TimeoutError


@dataclass(frozen=True, slots=True)
class ChatServer:
    """Asks a server; one that is busy or fails is asked again, and what it says is never trusted.

    Errors are one line, and hold neither the key nor what stands before the host in the URL.
    """

    url: str  # up to and without /chat/completions
    model: str
    key: str | None = field(default=None, repr=False)
    seconds: float = 60.0  # for one reply, and between two pieces of it
    tries: int = 4

    @property
    def name(self) -> str:
        """The model's name there, and where."""
        return f"{self.model} at {self._shown}"

    def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
        """Reply to the last turn; where somebody listens, piece by piece as it comes."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(turn) for turn in turns],
            "temperature": 0,
            "max_tokens": wish.most_tokens,
        }
        if tell is not silent:
            body["stream"] = True
        if wish.schema is not None:
            of = {"name": "reply", "schema": dict(wish.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": of}
        with self._open(body) as answered:
            arriving = _Arriving(answered, self.seconds)
            try:
                if _EVENTS in (answered.headers.get("Content-Type") or ""):
                    return self._streamed(arriving, tell)
                text = _content(json.loads(b"".join(arriving)), "message")
            except BROKEN as error:
                raise self._failed(self._why(error)) from error
        if text is None:
            raise self._failed("its reply is no chat completion")
        text = self._without_key(sayable(text))
        tell(text)
        return text

    def _open(self, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = json.dumps(body).encode()
        url = f"{self.url.rstrip('/')}/chat/completions"
        opener = urllib.request.build_opener(NoRedirects)
        for attempt in range(1, self.tries + 1):
            request = urllib.request.Request(url, data, headers)
            try:
                return opener.open(request, timeout=self.seconds)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in _AGAIN or attempt == self.tries:
                        raise self._failed(self._refused(error)) from error
                    time.sleep(_wait(error.headers.get("Retry-After"), attempt))
            except BROKEN as error:
                raise self._failed(self._why(error)) from error
        raise AssertionError("the last attempt returns or raises")

    def _streamed(self, arriving: "_Arriving", tell: Tell) -> str:
        """Gather the pieces of a reply; one that breaks off is none."""
        pieces, held, ended = list[str](), "", False
        for event in _events(arriving):
            if event == "[DONE]":
                ended = True
                break
            chunk = json.loads(event)
            if isinstance(chunk, dict) and chunk.get("error"):
                raise self._failed(f"it said {self._cleaned(_said(chunk))}")
            ended |= _finished(chunk)
            if piece := sayable(_content(chunk, "delta") or ""):
                arriving.go_on()
                piece, held = self._settled(held + piece)
            if piece:
                pieces.append(piece)
                tell(piece)
        if not ended:
            raise self._failed("its reply broke off")
        if held:
            pieces.append(held)
            tell(held)
        return "".join(pieces)

    def _settled(self, text: str) -> tuple[str, str]:
        """Return words without the key, and their end, where that may begin it."""
        text = self._without_key(text)
        key = self.key or ""
        begun = next((n for n in range(len(key) - 1, 0, -1) if text.endswith(key[:n])), 0)
        return text[: len(text) - begun], text[len(text) - begun :]

    def _without_key(self, text: str) -> str:
        return text.replace(self.key, "…") if self.key else text

    def _refused(self, error: urllib.error.HTTPError) -> str:
        """Say how a server refused, in its own words where it has some."""
        try:
            said = self._cleaned(_said(json.loads(b"".join(_Arriving(error, self.seconds)))))
        except BROKEN:
            said = ""
        why = {413: "; a picture or the question is too large", 429: "; it is asked too often"}
        told = f", {said}" if said else why.get(error.code, "")
        return f"it answered {error.code}{told}"

    def _why(self, error: Exception) -> str:
        if isinstance(error, IncompleteRead):
            return "its reply broke off"
        if isinstance(error, _LongReplyError):
            return f"its reply is longer than {_MOST_BYTES >> 20} MB"
        reason = getattr(error, "reason", None) or error
        if isinstance(error, TimeoutError) or isinstance(reason, TimeoutError):
            return f"it said nothing for {self.seconds:g} s"
        return f"{type(error).__name__}: {self._cleaned(str(reason))}"

    def _cleaned(self, text: str) -> str:
        """Return a line of what a server says, without the key where it says that back."""
        line = " ".join(text.split())
        line = self._without_key(line)
        return line if len(line) <= _MOST_SAID else f"{line[:_MOST_SAID]}…"

    @property
    def _shown(self) -> str:
        """The URL without who is to use it."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}".rstrip("/")

    def _failed(self, why: str) -> LookerError:
        return LookerError(f"the model at {self._shown} cannot be asked: {why}", operator="Look")


def _message(turn: ChatTurn) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for part in turn.parts:
        if part.picture is None:
            content.append({"type": "text", "text": part.text})
        else:
            data = base64.b64encode(part.picture).decode()
            url = f"data:image/jpeg;base64,{data}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    if turn.role == "assistant":  # a server may know no list here
        return {"role": turn.role, "content": "".join(part.text for part in turn.parts)}
    return {"role": turn.role, "content": content}


def _events(arriving: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of server-sent events; anything else in the stream is passed over."""
    rest = bytearray()
    for data in arriving:
        rest += data
        if b"\n" in data:
            *lines, rest = rest.split(b"\n")
            yield from filter(None, map(_data, lines))
    if event := _data(rest):
        yield event


def _data(line: bytearray) -> str:
    name, _, value = line.decode("utf-8", "replace").strip().partition(":")
    return value.strip() if name == "data" else ""


def _choice(reply: Any) -> Mapping[str, Any]:
    try:
        choice = reply["choices"][0]
    except (KeyError, IndexError, TypeError):
        return {}
    return choice if isinstance(choice, dict) else {}


def _content(reply: Any, part: str) -> str | None:
    """Return the words of a reply or of a piece of one, None where there are none."""
    held = _choice(reply).get(part)
    text = held.get("content") if isinstance(held, dict) else None
    return text if isinstance(text, str) else None


def _finished(chunk: Any) -> bool:
    return _choice(chunk).get("finish_reason") is not None


def _said(reply: Any) -> str:
    """Return what is wrong in a server's words: `{"error": {"message": …}}` and its kind."""
    found = reply.get("error", reply) if isinstance(reply, dict) else reply
    found = found.get("message", found.get("detail", "")) if isinstance(found, dict) else found
    return found if isinstance(found, str) else ""


def _wait(told: str | None, attempt: int) -> float:
    """Return for how long to wait: as a server says, else longer each time."""
    seconds = float(told) if told and told.isdecimal() else 0.5 * 2**attempt
    return min(seconds, _LONGEST)
