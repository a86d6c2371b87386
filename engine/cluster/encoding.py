"""The process that encodes: parcels in, written parts out, with its lanes full."""

import logging
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from engine.cluster.decoding import Hello
from engine.cluster.parcel import Parcel
from engine.cluster.passport import Passport, unseen
from engine.errors import ExecutionError
from engine.ingesting.encode import Done, StretchEncoder
from engine.ingesting.pipeline import DeviceJob
from engine.ingesting.plan import Stretch
from engine.ingesting.prepare import PreparedStretch
from engine.storage.apart import Blank, write_draft
from engine.storage.embeddings import Rows

logger = logging.getLogger(__name__)
LINGER_SECONDS = 0.2  # that open lanes wait for further parcels before they go on without
_Key = tuple[int, Stretch]


def room_for(streams: int) -> int:
    """Return how many parcels an encoder takes: those in its lanes, and as many for after them."""
    return 2 * streams


@dataclass(frozen=True, slots=True)
class Drafted:
    """A stretch whose rows lie in a draft, and how many stretches now go side by side."""

    done: Done
    streams: int


class EncodeProcess:
    """One encoder: a model with its strategy, and with it the state of all streams that it has.

    A turn that does not fit into memory is tried again with half as many streams. Called from as
    many threads as it has room.
    """

    def __init__(self, job: DeviceJob, device: str, halvings: int = 0) -> None:
        self._device = device
        self._model = job.load(device)
        self._job = job
        self._encoder = StretchEncoder(self._model, job.options, job.choices, job.few)
        if halvings:
            self._encoder = self._with(max(1, self._encoder.streams >> halvings))
        self._line: queue.Queue[PreparedStretch] = queue.Queue()
        self._held: dict[_Key, tuple[PreparedStretch, Future[Done]]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, name="encode", daemon=True).start()

    def hello(self, folders: list[Path], mark: str) -> Hello:
        """Say what it is."""
        room = room_for(self._encoder.streams)
        return Hello(Passport.own(), unseen(folders, mark), room, self._device)

    def encode(self, parcel: Parcel, blank: Blank) -> Drafted:
        """Encode a stretch beside the others that are here, and write its part."""
        prepared, future = parcel.unpack(), Future[Done]()
        del parcel  # and with it what the object store keeps for it
        with self._lock:
            self._held[_key_of(prepared)] = prepared, future
            self._line.put(prepared)
        done = future.result()
        assert isinstance(done.rows, Rows)
        written = write_draft(blank, done.rows, done.strategy)
        return Drafted(replace(done, rows=written), self._encoder.streams)

    def _serve(self) -> None:
        """Encode what comes, for good; an error goes to all that wait for a result."""
        while True:
            first = self._line.get()
            try:
                enough = self._encode_all(first)
            except Exception as error:  # noqa: BLE001  # raised again where results are awaited
                self._give_up(error)
                continue
            if not enough:
                self._shrink()

    def _encode_all(self, first: PreparedStretch) -> bool:
        """Encode until nothing is left; return False where memory did not suffice."""
        try:
            for turn in self._encoder.run(self._items(first)):
                for done in turn:
                    with self._lock:
                        _, future = self._held.pop((done.source.video_id, done.stretch))
                    future.set_result(done)
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            return False
        return True

    def _shrink(self) -> None:
        """Go on with half as many streams, and encode again what was not done."""
        if self._encoder.streams == 1:
            told = f"{self._device} has too little memory for one stretch at a time"
            self._give_up(ExecutionError(told))
            return
        self._encoder = self._with(self._encoder.streams // 2)
        logger.warning("out of memory: %d streams from now on", self._encoder.streams)
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()
        with self._lock:
            while not self._line.empty():
                self._line.get()
            for prepared, _ in self._held.values():
                self._line.put(prepared)

    def _with(self, streams: int) -> StretchEncoder:
        options = replace(self._job.options, streams=streams)
        return StretchEncoder(self._model, options, self._job.choices, self._job.few)

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            while not self._line.empty():
                self._line.get()
            for _, future in self._held.values():
                future.set_exception(error)
            self._held.clear()

    def _items(self, first: PreparedStretch) -> Iterator[PreparedStretch]:
        yield first
        while True:
            try:
                yield self._line.get(timeout=LINGER_SECONDS)
            except queue.Empty:
                return


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, a GPU's or the host's."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "can't allocate memory" in str(error) or "out of memory" in str(error).lower()


def _key_of(prepared: PreparedStretch) -> _Key:
    return prepared.task.source.video_id, prepared.stretch
