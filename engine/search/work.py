"""What a query did: rows per operator, what was decoded and encoded, how rows were found."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.storage.snapshot import Hits


@dataclass(frozen=True, slots=True)
class Embedded:
    """What embedding missing frames took."""

    videos: int = 0
    gops: int = 0
    frames: int = 0
    full: int = 0  # frames for which nothing was reused
    reused: int = 0  # frames that took something from another
    tokens: int = 0  # of all layers after the first
    tokens_reused: int = 0
    macs: float = 0.0
    macs_dense: float = 0.0  # what dense would have taken
    decode_seconds: float = 0.0
    encode_seconds: float = 0.0
    saved_seconds: float | None = None  # against dense, where that was measured
    complete: bool = True  # False: a budget ended first, or a video could not be read
    choice: str = ""  # the strategy and why
    budget: bool = False  # whether it was a budget
    unread: Mapping[int, str] = field(default_factory=dict)  # videos that were not, and why


@dataclass(frozen=True, slots=True)
class Refined:
    """What making candidates exact took, and how sure the order is."""

    rows: int = 0
    seconds: float = 0.0
    complete: bool = True
    confidence: float = 1.0
    budget: bool = False  # whether a budget ended it


@dataclass(frozen=True, slots=True)
class ActionWork:
    """What naming the actions of clips took."""

    stored: int = 0  # clips that had been classified before
    made: int = 0
    seconds: float = 0.0  # of decoding and classifying
    complete: bool = True  # False: a clip could not be decoded, or not within the budget
    budget: bool = False  # whether it was the budget


@dataclass(frozen=True, slots=True)
class DetectionWork:
    """What looking for objects took."""

    stored: int = 0  # groups of pictures that had been looked at before
    frames: int = 0  # looked at now
    seconds: float = 0.0  # of decoding and looking
    complete: bool = True  # False: a group could not be decoded, or not within the budget
    budget: bool = False  # whether it was the budget


@dataclass(frozen=True, slots=True)
class AnswerWork:
    """What asking videos took, those apart whose answers were kept."""

    asked: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LookWork:
    """What filtering frames by something that looks at pictures took."""

    rows: int  # that came to it
    calls: int  # of them of which it was asked
    fresh: int  # of these that were not known from before
    recall: float  # at least, with the confidence asked for
    precision: float
    seconds: float
    learnt: bool = False  # whether frames were ranked by what was learnt from their vectors
    what: str = "frames"  # or moments

    @property
    def known(self) -> int:
        """Of how many nothing had to be asked, as that was known."""
        return max(0, self.calls - self.fresh)


@dataclass(frozen=True, slots=True)
class TellWork:
    """What asking something that looks for a column took."""

    rows: int  # that came to it
    calls: int  # what was looked at for them, each once
    fresh: int  # of these that were not known from before
    seconds: float


@dataclass(slots=True)
class Run:
    """One operator's rows, batches and seconds, those of its sources included."""

    rows: int = 0
    batches: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Passed:
    """How many rows came to a condition on what was computed for them, and how many passed."""

    rows: int = 0
    passed: int = 0


@dataclass(slots=True)
class Work:
    """Gathered while a plan runs."""

    runs: dict[int, Run] = field(default_factory=dict)  # by the place of the node in the plan
    embedded: list[Embedded] = field(default_factory=list)
    refined: list[Refined] = field(default_factory=list)
    actions: list[ActionWork] = field(default_factory=list)
    detections: list[DetectionWork] = field(default_factory=list)
    answers: list[AnswerWork] = field(default_factory=list)
    looks: dict[str, LookWork] = field(default_factory=dict)  # by the column of what was asked
    tells: dict[str, TellWork] = field(default_factory=dict)  # by the column
    tested: dict[str, Passed] = field(default_factory=dict)  # by what the condition asks
    found: list[str] = field(default_factory=list)  # how each search went: index used or why not
    stored_frames: int = 0  # frames whose embedding was there already
    approximate: bool = False  # an index chose which rows to look at, and may have missed some
    inexact: int = 0  # approximate rows on whose scores the answer rests
    coarse_seconds: float = 0.0  # of video of which the first frame of each GOP was looked at alone
    missing_seconds: float = 0.0  # of video that was to be embedded and was not

    def forget_reading(self) -> None:
        """Forget what an earlier reading of the same inputs has noted."""
        self.runs.clear()
        self.tested.clear()
        self.found.clear()
        self.stored_frames, self.approximate = 0, False
        self.inexact, self.missing_seconds = 0, 0.0
        # what was made then is in the store by now, and is told as made
        self.actions = [
            replace(item, stored=-item.made, complete=True, budget=False)
            for item in self.actions
            if item.made
        ]
        self.detections = [
            replace(item, complete=True, budget=False) for item in self.detections if item.frames
        ]

    def note_looks(self, column: str, done: LookWork) -> None:
        """Note a filter's last reading; what earlier ones looked at, and how long, adds up."""
        if before := self.looks.get(column):
            took = before.seconds + done.seconds
            done = replace(done, fresh=before.fresh + done.fresh, seconds=took)
        self.looks[column] = done

    def note_tells(self, column: str, done: TellWork) -> None:
        """Note a column's last reading; what earlier ones looked at, and how long, adds up."""
        if before := self.tells.get(column):
            took = before.seconds + done.seconds
            done = replace(done, fresh=before.fresh + done.fresh, seconds=took)
        self.tells[column] = done

    def note_search(self, hits: Hits) -> None:
        """Note how rows were found."""
        self.found.append(hits.index)
        self.approximate |= not hits.exact

    def note_rows(self, condition: str, count: int, *, passed: bool) -> None:
        """Note rows that come to a condition, or pass it."""
        tested = self.tested.setdefault(condition, Passed())
        if passed:
            tested.passed += count
        else:
            tested.rows += count
