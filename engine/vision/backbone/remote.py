"""Vectors from a server that speaks as OpenAI's does: texts and pictures, in batches."""

import base64
import hashlib
import io
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from engine.errors import ModelError, UnreachedModelError
from engine.vision.backbone.named import Form, ModelName

KEY = "DEJAVU_EMBEDDINGS_KEY"
TEXTS, PICTURES = 64, 16  # of one request
_TRIES = 6  # where it is asked too much, or fails
_LONGEST = 60.0  # seconds that are waited before it is asked again
_AGAIN = (408, 429, 500, 502, 503, 504)
_TOO_LARGE = 413
_ANSWER_BYTES = 1 << 28
_MOST_SAID = 160  # characters of what broke off
BROKEN = (OSError, ValueError, RecursionError, HTTPException)  # what reading a reply may raise
_WHY = {
    401: f"it does not accept the key; {KEY} holds it",
    403: f"it does not allow it; {KEY} holds the key",
    404: "it knows no such model, or no /embeddings there",
}


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key goes to nobody but the server that was named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""
        return None


@dataclass(frozen=True, slots=True)
class RemoteEmbeddings:
    """A server and one of its models; nothing of it holds or shows the key but its requests."""

    url: str  # up to and without /embeddings
    model: str
    form: Form
    timeout: float
    key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, named: ModelName) -> "RemoteEmbeddings":
        """Read `https://host/v1#model`; the key comes from the environment alone."""
        url, mark, model = named.base.partition("#")
        if not mark or not model:
            raise ModelError(f"{_bare(url)}: no model is named; allowed: https://host/v1#MODEL")
        if urlsplit(url).username is not None or urlsplit(url).query:
            raise ModelError(
                f"{_bare(url)}: a URL holds no name, key or query; {KEY} holds the key"
            )
        return cls(url.rstrip("/"), model, named.form, named.timeout, os.environ.get(KEY) or None)

    @property
    def identity(self) -> str:
        """What stands for the weights, which nobody here sees."""
        return hashlib.sha256(f"{self.url}#{self.model}".encode()).hexdigest()

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors `[T, E]` as the server gives them."""
        parts = [
            self._embed([*texts[start : start + TEXTS]], lambda part: {"input": part})
            for start in range(0, len(texts), TEXTS)
        ]
        return torch.cat(parts)

    def pictures(self, pixels: Tensor) -> Tensor:
        """Vectors `[B, E]` of bytes `[B, 3, S, S]`, sent as JPEG."""
        packed = [_jpeg(each) for each in pixels.cpu()]
        most = 1 if self.form == "messages" else PICTURES
        parts = [
            self._embed(packed[start : start + most], self._shown)
            for start in range(0, len(packed), most)
        ]
        return torch.cat(parts)

    def _shown(self, part: list[str]) -> dict[str, Any]:
        if self.form == "messages":
            content = [{"type": "image_url", "image_url": {"url": part[0]}}]
            return {"messages": [{"role": "user", "content": content}]}
        if self.form == "modality":
            return {"input": part, "modality": "image"}
        return {"input": [{"image": each} for each in part]}

    def _embed(self, part: list[str], body: Callable[[list[str]], Mapping[str, Any]]) -> Tensor:
        """Ask for some; what is too much at once is asked for in halves."""
        told = {"model": self.model, "encoding_format": "float", **body(part)}
        reply = self._reply(json.dumps(told).encode(), alone=len(part) == 1)
        if reply is None:
            half = len(part) // 2
            return torch.cat([self._embed(part[:half], body), self._embed(part[half:], body)])
        return self._vectors(reply, len(part))

    def _vectors(self, reply: Any, count: int) -> Tensor:
        try:
            rows = sorted(reply["data"], key=lambda row: int(row["index"]))
            places = [int(row["index"]) for row in rows]
            found = torch.tensor([row["embedding"] for row in rows], dtype=torch.float32)
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise self._failed("its reply is no list of embeddings of one length") from error
        if places != list(range(count)) or found.ndim != 2 or not found.shape[1]:
            raise self._failed(f"it gives {len(rows)} vectors for {count}")
        if not bool(found.isfinite().all()):
            raise self._failed("a vector is not all numbers (NaN or Inf)")
        if not bool(found.any(1).all()):
            raise self._failed("a vector is all zeros")
        return found

    def _reply(self, data: bytes, *, alone: bool) -> Any:
        """Return its JSON; None where it is too much at once and could be asked in halves."""
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        opener = urllib.request.build_opener(NoRedirects)
        for wait in self._waits():
            request = urllib.request.Request(f"{self.url}/embeddings", data, headers)
            try:
                with opener.open(request, timeout=self.timeout) as reply:
                    told = reply.read(_ANSWER_BYTES + 1)
                if len(told) > _ANSWER_BYTES:
                    raise self._failed(f"its reply has more than {_ANSWER_BYTES >> 20} MiB")
                return json.loads(told)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == _TOO_LARGE and not alone:
                        return None
                    if error.code not in _AGAIN or wait is None:
                        raise self._failed(self._why(error.code, len(data))) from None
                    time.sleep(_told(error.headers.get("Retry-After"), wait))
            except BROKEN as error:
                is_json = not isinstance(error, ValueError | RecursionError)
                said = str(getattr(error, "reason", None) or error) or type(error).__name__
                line = " ".join(said.split())[:_MOST_SAID]
                raise self._failed(line if is_json else "its reply is no JSON") from None
        raise AssertionError("the last attempt returns or raises")

    def _waits(self) -> Iterator[float | None]:
        """Seconds to wait after each attempt; None: it is the last."""
        yield from (min(0.5 * 2**attempt, _LONGEST) for attempt in range(_TRIES - 1))
        yield None

    def _why(self, code: int, size: int) -> str:
        if code == _TOO_LARGE:
            return f"a request of {size} bytes is too large for it; a smaller ?size= may do"
        if 300 <= code < 400:
            return f"it answered {code}: it sends one elsewhere, and a key goes nowhere else"
        tried = f" after {_TRIES} attempts" if code in _AGAIN else ""
        return _WHY.get(code, f"it answered {code}{tried}")

    def _failed(self, why: str) -> UnreachedModelError:
        return UnreachedModelError(f"embeddings of {_bare(self.url)}#{self.model}: {why}")


def _told(retry_after: str | None, otherwise: float) -> float:
    """Return for how long to wait: as a server says, in seconds or by a date."""
    if retry_after and retry_after.strip().isdecimal():
        return min(float(retry_after), _LONGEST)
    try:
        left = parsedate_to_datetime(retry_after or "").timestamp() - time.time()
    except (ValueError, TypeError):
        return otherwise
    return min(max(left, 0.0), _LONGEST) if math.isfinite(left) else otherwise


def _bare(url: str) -> str:
    """Return a URL without what may be a secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _jpeg(pixels: Tensor) -> str:
    from PIL import Image  # machines that only encode have it not, and ask no server

    packed = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(packed, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()
