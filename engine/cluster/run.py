"""Tasks to rows on a cluster: the driver's loop."""

import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from engine.closing import Closing
from engine.cluster.connect import Ray, check_address, load_ray
from engine.cluster.decoding import Made
from engine.cluster.encoding import Drafted
from engine.cluster.flow import Decode, Encode, Flow
from engine.cluster.staff import Member, Staff
from engine.errors import EngineError, ExecutionError, UsageError, VideoError
from engine.ingesting.encode import StretchEncoder
from engine.ingesting.pipeline import (
    DeviceJob,
    Event,
    run_here,
    run_on_devices,
    until_chosen,
)
from engine.ingesting.plan import Stretch, Task
from engine.ingesting.pool import Failed
from engine.ingesting.prepare import Decoded, Preparation
from engine.ingesting.report import IngestOptions
from engine.ingesting.tracker import Tracker
from engine.storage.apart import Blank
from engine.storage.durable import make_folder
from engine.storage.parts import Piece
from engine.storage.store import Store

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 600.0  # without any decoder, or any encoder
MOST_DEATHS = 6  # of processes that decode one task: then it is the task's doing
MOST_FRUITLESS = 12  # encoders at one seat in a row that did not encode anything


def run_tasks(
    tracker: Tracker,
    encoder: StretchEncoder,
    tasks: Iterator[Task],
    stopped: Callable[[], bool],
    ended: Callable[[], bool] | None = None,
) -> Generator[list[Event], None, None]:
    """Yield what becomes of the tasks: on the cluster that the options name, else on this machine.

    On a cluster rows come as parts that lie in the store's drafts. Each stretch is told of once,
    when it has been decoded, encoded and written, whatever died meanwhile.
    """
    address = encoder.options.ray
    if address is None:
        yield from run_on_devices(encoder, tasks, stopped, ended)
        return
    if encoder.model.preprocessing.pictures > 1:
        raise UsageError(f"model {encoder.model.space.model} embeds clips; with ray: of pictures")
    with Ray(address) as ray:
        on_gpus = any(node.gpus for node in ray.nodes())
        workers = encoder.options.workers or os.cpu_count() or 1
        if encoder.auto:
            _check_weighing(encoder, on_gpus=on_gpus)
            yield from run_here(encoder, until_chosen(encoder, tasks), workers, stopped)
        with _Drafts(tracker.store) as drafts:
            said = "pyav: a cluster's decoders are processors"
            preparation = Preparation(encoder.model.preprocessing, encoder.cue_side, decoder=said)
            job = job_of(encoder, on_gpus=on_gpus)
            staff = Staff(ray, job, preparation, [drafts.folder], drafts.mark)
            bounded = encoder.options.max_drift is not None and encoder.strategy.name != "dense"
            tracker.nodes = staff.nodes
            driver = Driver(ray, staff, Flow(sticky=bounded), tracker.store, tracker.space_key)
            with closing(Planner(tasks)) as planner, closing(staff):
                yield from driver.run(planner, stopped)


def check_cluster(options: IngestOptions) -> None:
    """Raise UsageError for a cluster that is not named, or what cannot be done on one."""
    if options.ray is None:
        return
    check_address(options.ray)
    load_ray()
    if options.decode_gate:
        raise UsageError("decode_gate embeds while it decodes; with ray it is not to be had")
    if options.decoder == "nvdec":
        raise UsageError("decoder nvdec with ray; allowed: auto, pyav")
    if options.devices:
        raise UsageError(f"devices {', '.join(options.devices)} with ray, whose nodes have theirs")


def _check_weighing(encoder: StretchEncoder, *, on_gpus: bool) -> None:
    """Raise UsageError where `auto` would weigh on another kind of device than is encoded on."""
    if on_gpus != (encoder.model.device.type == "cuda"):
        raise UsageError(
            f"strategy auto is weighed on the driver's device, {encoder.model.device}, and the"
            f" cluster encodes on {'GPUs' if on_gpus else 'CPUs'}; name a strategy, such as dense"
        )


def job_of(encoder: StretchEncoder, *, on_gpus: bool) -> DeviceJob:
    """Return what an encoder of the cluster does: as the driver would, in its device's own type."""
    job = DeviceJob.of(encoder, 1)
    if on_gpus != (encoder.model.device.type == "cuda"):
        job = replace(job, dtype=torch.bfloat16 if on_gpus else torch.float32)
    return job


class _Drafts(Closing):
    """The folder that other nodes write to, with a mark by which they know it for the driver's."""

    def __init__(self, store: Store) -> None:
        self.folder, self.mark = store.layout.drafts, f"mark-{uuid.uuid4().hex}"
        make_folder(self.folder)
        (self.folder / self.mark).touch()

    def close(self) -> None:
        """Take the mark away; what lies there is yet to be committed."""
        (self.folder / self.mark).unlink(missing_ok=True)


@dataclass(slots=True, eq=False)
class DecodeJob:
    """A task on its way through a decoder."""

    task: Task
    left: list[Stretch]  # not made yet
    deaths: int = 0  # of decoders that had it


@dataclass(slots=True, eq=False)
class Parcelled:
    """A stretch that was decoded; its pixels lie where they were made."""

    job: DecodeJob
    event: Decoded
    pixels: Any  # a reference
    node: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Call:
    """What was asked of a process."""

    member: Member
    made: Any = None  # the parcel's reference, of a decoder
    parcel: Parcelled | None = None  # of an encoder
    blank: Blank | None = None


@dataclass(slots=True)
class Driver:
    """Carries out what the flow orders, and tells it what has happened."""

    ray: Ray
    staff: Staff
    flow: Flow[DecodeJob, Parcelled]
    store: Store
    space_key: str
    _calls: dict[Any, _Call] = field(default_factory=dict)
    _members: dict[str, Member] = field(default_factory=dict)
    _jobs: dict[str, DecodeJob] = field(default_factory=dict)  # that decoders have
    _seen: float = field(default_factory=time.monotonic)  # when there last was somebody to work
    _began: float = field(default_factory=time.monotonic)

    def run(
        self, planner: "Planner", stopped: Callable[[], bool]
    ) -> Generator[list[Event], None, None]:
        """Work until all is done; what is begun when `stopped` says so is given up."""
        while not stopped():
            for member in self.staff.tend():
                self._join(member)
            self._check_patience()
            while self.flow.hungry and (task := planner.take()) is not None:
                self._offer(DecodeJob(task, list(task.stretches)))
            for order in self.flow.orders():
                self._carry_out(order)
            if planner.over and self.flow.idle:
                return
            yield list(self._happened())

    def _join(self, member: Member) -> None:
        self._members[member.name] = member
        node = member.seat.node.name
        if member.seat.kind == "decode":
            self.flow.add_decoder(member.name, node)
        else:
            self.flow.add_encoder(member.name, node, member.room)

    def _check_patience(self) -> None:
        now = time.monotonic()
        if self.flow.decoders and self.flow.encoders:
            self._seen = now
        if now - self._seen > PATIENCE_SECONDS:
            lacking = "decoder" if not self.flow.decoders else "encoder"
            raise ExecutionError(
                f"no {lacking} could begin on any node for {PATIENCE_SECONDS:g} s;"
                " `ray status` says what the cluster has"
            )
        if self.staff.fruitless() > MOST_FRUITLESS:
            raise ExecutionError(
                f"{MOST_FRUITLESS} encoders in a row ended at one seat before they had encoded"
                " anything; its node's logs say why"
            )

    def _offer(self, job: DecodeJob, *, first: bool = False) -> None:
        self.flow.offer(job, job.task.source.video_id, first=first)

    def _carry_out(self, order: Decode[DecodeJob] | Encode[Parcelled]) -> None:
        if isinstance(order, Decode):
            member, job = self._members[order.decoder], order.job
            self._jobs[order.decoder] = job
            task = job.task if order.begins else None
            told, pixels = member.handle.next.options(num_returns=2).remote(task)
            self._calls[told] = _Call(member, made=pixels)
            return
        member, parcel = self._members[order.encoder], order.parcel
        source = parcel.job.task.source
        number, start, stop = source.stored_as(parcel.event.stretch)
        piece = Piece("", number, start, stop, 0)
        blank = self.store.blank(source.video_id, self.space_key, source.sampling, piece)
        ref = member.handle.encode.remote(parcel.pixels, blank)
        self._calls[ref] = _Call(member, parcel=parcel, blank=blank)

    def _happened(self) -> Iterator[Event]:
        """Wait a little for results, and take them in."""
        if not self._calls:
            time.sleep(POLL_SECONDS / 4)
            return
        refs = list(self._calls)
        if not self.ray.wait(refs, 1, POLL_SECONDS)[0]:
            return
        for ref in self.ray.wait(refs, len(refs), 0)[0]:
            call = self._calls.pop(ref)
            try:
                found = self.ray.get(ref)
            except self.ray.errors as error:
                self._failed(call, error)
                continue
            if self._members.get(call.member.name) is not call.member:
                continue  # it was given up for lost meanwhile, and all that it had went elsewhere
            self.staff.worked(call.member)
            if isinstance(found, Made):
                yield from self._made(call, found)
            else:
                yield from self._written(call, found)

    def _made(self, call: _Call, made: Made) -> Iterator[Event]:
        """Take in what a decoder says."""
        name = call.member.name
        job = self._jobs[name]
        if made.absent is not None:
            yield self._absent(job, call.member, made.absent)
        if made.failed is not None:
            yield self._lost(job, made.failed.error)
        parcel = None
        if made.event is not None:
            event = replace(made.event, task=job.task)
            job.left.remove(event.stretch)
            node = self.staff.nodes[call.member.seat.node.name]
            node.decoded += len(event.frames)
            node.decode_seconds += event.decode_seconds
            node.sent_bytes += made.size_bytes
            parcel = Parcelled(job, event, call.made, node.name, made.size_bytes)
        self.flow.decoded(name, parcel, ends=made.ends)
        if made.ends:
            del self._jobs[name]

    def _absent(self, job: DecodeJob, member: Member, path: str) -> Failed:
        """Tell a node that does not see a video from a video that has gone."""
        if Path(path).exists():
            raise ExecutionError(
                f"node {member.seat.node.name} does not see {path}; mount it at the same path on"
                " every node, or ingest from a bucket"
            )
        return self._lost(job, VideoError(f"{path} has gone", path=path))

    def _written(self, call: _Call, written: Drafted) -> Iterator[Event]:
        """Take in a stretch that is decoded, encoded and written."""
        assert call.parcel is not None
        parcel, done = call.parcel, written.done
        node = self.staff.nodes[call.member.seat.node.name]
        node.frames += len(parcel.event.frames)
        node.encode_seconds += done.seconds
        node.frames_per_second = node.frames / max(time.monotonic() - self._began, 1e-9)
        self.flow.encoded(call.member.name, parcel)
        yield parcel.event
        yield replace(done, source=parcel.job.task.source)

    def _lost(self, job: DecodeJob, error: VideoError) -> Failed:
        """Give up what is left of a job."""
        task = replace(job.task, stretches=tuple(job.left))
        job.left.clear()
        return Failed(task, error)

    def _failed(self, call: _Call, error: Exception) -> None:
        """Have done again what a process, a node or the way between them has lost."""
        if (own := self.ray.own_error(error)) is not None:
            if isinstance(own, EngineError):
                raise own from error
            told = f"{type(own).__name__}: {own}"
            raise ExecutionError(f"{call.member.seat.name} failed: {told}") from error
        if call.blank is not None:
            call.blank.draft.unlink(missing_ok=True)
        name = call.member.name
        if self._members.get(name) is not call.member:
            return
        if call.parcel is not None and self.ray.lost_object(error):
            self.flow.encoded(name, call.parcel)
            self._again(call.parcel.job, [call.parcel.event.stretch])
            return
        del self._members[name]
        self.staff.drop(call.member)
        if call.parcel is not None:
            self.flow.lose_encoder(name)
            return
        job = self.flow.lose_decoder(name)
        assert job is self._jobs.pop(name)
        assert job is not None
        job.deaths += 1
        self._again(job, job.left)

    def _again(self, job: DecodeJob, stretches: Sequence[Stretch]) -> None:
        """Line up once more some stretches of a job, those that follow each other in one pass."""
        runs: list[list[Stretch]] = []
        for at, stretch in enumerate(job.task.stretches):
            if stretch not in stretches:
                continue
            if runs and runs[-1][-1] is job.task.stretches[at - 1]:
                runs[-1].append(stretch)
            else:
                runs.append([stretch])
        for run in reversed(runs):
            task = replace(job.task, stretches=tuple(run))
            self._offer(DecodeJob(task, run, job.deaths), first=True)


class Planner:
    """Draws tasks in a thread of its own, a few ahead: files are read to plan them."""

    def __init__(self, tasks: Iterator[Task], ahead: int = 32) -> None:
        self._line: queue.Queue[Task | BaseException | None] = queue.Queue(ahead)
        self._stop = threading.Event()
        self.over = False
        threading.Thread(target=self._draw, args=(tasks,), name="plan", daemon=True).start()

    def take(self) -> Task | None:
        """Return the next task, or None where there is none yet, or none any more."""
        try:
            item = None if self.over else self._line.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, BaseException):
            raise item
        self.over = item is None
        return item

    def close(self) -> None:
        """Draw no further task."""
        self._stop.set()

    def _draw(self, tasks: Iterator[Task]) -> None:
        last: BaseException | None = None
        try:
            for task in tasks:
                self._put(task)
                if self._stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  # raised again where tasks are taken
            last = error
        self._put(last)

    def _put(self, item: Task | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                return self._line.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
