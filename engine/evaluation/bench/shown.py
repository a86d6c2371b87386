"""How often an answer knows that nothing like it is there, and whether its probabilities hold."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.answering.patch_reader import shipped_patch_reader
from engine.answering.shown import ShownCurve, shipped_curve
from engine.errors import UsageError
from engine.evaluation.bench.shown_asks import STORE, LookedVideo, ShownAsk, read_asks
from engine.evaluation.report import Cell, Report
from engine.evaluation.tradeoff import interval
from engine.vision.model import load_model
from engine.world.splits import Split

VERSION: Final = 1
OF_EACH: Final = 3  # questions that are asked of each clip
_BINS: Final = 10
_RIDGE: Final = 1.0  # on weights of standardised inputs
_TEMPERATURES: Final = np.geomspace(0.5, 8, 57)
_DRAWS: Final = 1000  # of clips, for an interval

Told = tuple[float, bool]  # a probability, and whether it came true


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 64,
    seed: int = 31,
    split: Split = "test",
    workers: int = 2,
    fit: Path | None = None,
) -> Report:
    """Ask of made-up clips, one alone and stores of eight, what they show and what they do not.

    Args:
        model: that a patch reader ships for.
        device: where it runs.
        clips: of the pool; with `fit` of the split `train`, and three eighths as many of `val`.
        seed: of the pool.
        split: that the clips are of, where nothing is fitted.
        workers: processes that render.
        fit: where to write a curve that is fitted on `train` and made to come true on `val`.
    """
    loaded = load_model(model, device=device)
    patch_reader = shipped_patch_reader(loaded)
    if patch_reader is None:
        raise UsageError(f"no patch reader ships for {model}; allowed: builtin")

    def asks(pool: Split, count: int, at: int) -> list[ShownAsk]:
        return read_asks(loaded, patch_reader, pool, count, at, of_each=OF_EACH, workers=workers)

    if fit is None:
        curve = shipped_curve(loaded.space)
        if curve is None:
            raise UsageError(f"no curve of what is shown ships for {model}; fit one with --fit")
        return tabulate(curve, asks(split, clips, seed), f"{clips} {split} clips, seed {seed}")
    held = max(STORE * 2, clips * 3 // 8)
    learned, chosen = asks("train", clips, seed), asks("val", held, seed + 1)
    curve = rounded(fit_curve(learned, chosen, loaded.space.weight_hash))
    report = tabulate(curve, chosen, f"{held} val clips, seed {seed + 1}: the curve is of them too")
    card = {
        "version": VERSION,
        "seed": seed,
        "command": f"dejavu-engine bench shown --fit FILE --clips {clips} --seed {seed}",
        "learned_from": f"{len(learned)} askings of {clips} train clips, seed {seed}",
        "made_to_come_true_on": f"{len(chosen)} askings of {held} val clips, seed {seed + 1}",
    }
    fit.parent.mkdir(parents=True, exist_ok=True)
    fit.write_text(json.dumps({"card": card, "curve": asdict(curve)}, indent=2) + "\n")
    return report


def fit_curve(
    learned: Sequence[ShownAsk], chosen: Sequence[ShownAsk], weight_hash: str
) -> ShownCurve:
    """Weigh readings by some askings; make the rest come true on others, of things unseen.

    The patch reader knows the pairs of colour and shape of its own split too well.
    """
    looked = {(ask.clip, ask.answer, each): None for ask in learned for each in ask.looked}
    videos = [each for _, _, each in looked]
    inputs = np.array([each.reading.values for each in videos])
    first = logistic(inputs, np.array([each.shows for each in videos]))
    curve = ShownCurve(weight_hash, tuple(first), (1.0, 0.0, 0.0), 1.0, 0.5)
    given = np.array([[best(curve, ask)[1], np.log(ask.videos)] for ask in chosen])
    of_best, of_count, constant = logistic(given, np.array([ask.shown for ask in chosen]))
    curve = replace(curve, any=(of_best, of_count, constant), temperature=_temperature(chosen))
    return replace(curve, threshold=_threshold(curve, chosen))


def rounded(curve: ShownCurve) -> ShownCurve:
    """Return it as it is stored."""
    return replace(
        curve,
        video=tuple(round(each, 5) for each in curve.video),
        any=(round(curve.any[0], 5), round(curve.any[1], 5), round(curve.any[2], 5)),
        temperature=round(curve.temperature, 4),
    )


def logistic(inputs: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[float]:
    """Return the weights of a logistic curve, and its constant last, by Newton's steps."""
    middle, spread = inputs.mean(0), inputs.std(0) + 1e-9
    rows = np.column_stack([(inputs - middle) / spread, np.ones(len(inputs))])
    ridge = np.diag([*[_RIDGE] * inputs.shape[1], 1e-9])
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        said = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (said - labels) + ridge @ weights
        step = np.linalg.solve((rows * (said * (1 - said))[:, None]).T @ rows + ridge, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    plain = weights[:-1] / spread
    return [*plain.tolist(), float(weights[-1] - plain @ middle)]


def best(curve: ShownCurve, ask: ShownAsk) -> tuple[LookedVideo, float]:
    """Return the video that likeliest shows it, with its logit."""
    pairs = [(each, curve.fit(each.reading)) for each in ask.looked]
    return max(pairs, key=lambda pair: pair[1])


def shown(curve: ShownCurve, ask: ShownAsk) -> float:
    """Return the probability that it is shown."""
    return curve.shown(best(curve, ask)[1], ask.videos)


def right(curve: ShownCurve, ask: ShownAsk) -> bool:
    """Whether the choice is right on the video that likeliest shows it."""
    return int(np.argmax(best(curve, ask)[0].probabilities)) == ask.answer


def _temperature(asks: Sequence[ShownAsk]) -> float:
    """The one by which right choices are likeliest, of a clip that shows what is asked."""
    own = [ask for ask in asks if ask.videos == 1 and ask.shown]
    logits = [np.log(np.maximum(ask.looked[0].probabilities, 1e-13)) for ask in own]

    def surprise(temperature: float) -> float:
        parts = zip(own, (each / temperature for each in logits), strict=True)
        return float(np.mean([np.logaddexp.reduce(each) - each[ask.answer] for ask, each in parts]))

    return float(min(_TEMPERATURES, key=surprise))


def _threshold(curve: ShownCurve, asks: Sequence[ShownAsk]) -> float:
    """The one at which as large a share of what is shown is kept as of the rest recognised."""
    said, truth = np.array([shown(curve, ask) for ask in asks]), np.array([a.shown for a in asks])
    grid = np.arange(0.05, 0.951, 0.01)
    worse = [min((said[truth] >= at).mean(), (said[~truth] < at).mean()) for at in grid]
    return round(float(grid[int(np.argmax(worse))]), 2)


def tabulate(curve: ShownCurve, asks: Sequence[ShownAsk], of: str) -> Report:
    """Count what was recognised, kept and right; hold probabilities against what came true."""
    rows: list[list[Cell]] = []
    for name, of_size in (("one video", 1), (f"{STORE} videos", STORE), ("all", 0)):
        part = [ask for ask in asks if of_size in (0, ask.videos)]
        present, only = [a for a in part if a.shown], [a for a in part if a.only and a.videos > 1]
        absent = [ask for ask in part if not ask.shown]
        own = [ask for ask in part if ask.shown and ask.videos == 1]
        rows += [
            _share(f"{name}: not shown, recognised", absent, lambda a: not _kept(curve, a)),
            _share(f"{name}: shown, kept", present, lambda a: _kept(curve, a)),
        ]
        if own:
            rows.append(_share(f"{name}: choices right", own, lambda a: right(curve, a)))
        if only:
            rows.append(_share(f"{name}: right video", only, lambda a: _meant(curve, a)))
    told = {
        "that it is shown": [[(shown(curve, a), a.shown)] for a in asks],
        "of the choice, shown": [[_choice(curve, a)] for a in asks if a.videos == 1 and a.shown],
        "of the answer given": [[answer_told(curve, a)] for a in asks if _decided(a)],
    }
    tables = [reliability(name, [each for part in parts for each in part]) for name, parts in
              told.items()]  # fmt: skip
    return Report(
        title=f"what is shown and what is not, {of}",
        columns=("what", "askings", "%", "95 % from", "to"),
        rows=rows,
        notes=(
            f"threshold {curve.threshold:g}, temperature {curve.temperature:.3g}; right video: of "
            "questions whose object one video of the store alone shows; intervals by clips drawn "
            "anew; rendered frames before coding",
        ),
        data={"curve": asdict(curve)},
        more=tuple(tables),
    )


def answer_told(curve: ShownCurve, ask: ShownAsk) -> Told:
    """Return the probability of the answer that is given, and whether it is right."""
    video, logit = best(curve, ask)
    weighed, nothing = curve.weigh(video.probabilities, logit, ask.videos)
    if not _kept(curve, ask):
        return nothing, not ask.shown
    return max(weighed), video.shows and right(curve, ask)


def reliability(name: str, told: Sequence[Told]) -> Report:
    """Hold probabilities against how often they came true, by tenths; the error is weighted."""
    said, true = np.array([p for p, _ in told]), np.array([t for _, t in told])
    places = np.minimum((said * _BINS).astype(int), _BINS - 1)
    rows: list[list[Cell]] = []
    error = 0.0
    for at in range(_BINS):
        part = places == at
        if part.any():
            claimed, came = 100 * float(said[part].mean()), 100 * float(true[part].mean())
            error += part.mean() * abs(claimed - came)
            span = f"{100 * at // _BINS}–{100 * (at + 1) // _BINS}"
            rows.append([span, int(part.sum()), claimed, came, *interval(came, int(part.sum()))])
    data: dict[str, Any] = {"calibration_error": error}
    return Report(
        title=f"reliability of the probability {name}",
        columns=("said, %", "askings", "mean said", "came true", "95 % from", "to"),
        rows=rows,
        notes=(f"calibration error {error:.1f} points",),
        data=data,
    )


def _decided(ask: ShownAsk) -> bool:
    """Whether one answer is true: another video that shows the like may well show another."""
    return not ask.shown or ask.videos == 1 or ask.only


def _kept(curve: ShownCurve, ask: ShownAsk) -> bool:
    return shown(curve, ask) >= curve.threshold


def _meant(curve: ShownCurve, ask: ShownAsk) -> bool:
    return best(curve, ask)[0].name == ask.clip


def _choice(curve: ShownCurve, ask: ShownAsk) -> Told:
    return max(curve.soften(best(curve, ask)[0].probabilities)), right(curve, ask)


def _share(name: str, asks: Sequence[ShownAsk], true: Callable[[ShownAsk], bool]) -> list[Cell]:
    """A share with its limits by clips drawn anew: questions of one clip go together."""
    if not asks:
        return [name, 0, None, None, None]
    clips = {clip: place for place, clip in enumerate(dict.fromkeys(ask.clip for ask in asks))}
    counts, hits = np.zeros(len(clips)), np.zeros(len(clips))
    for ask in asks:
        counts[clips[ask.clip]] += 1
        hits[clips[ask.clip]] += true(ask)
    drawn = np.random.default_rng(0).integers(len(clips), size=(_DRAWS, len(clips)))
    shares = 100 * hits[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return [name, len(asks), 100 * float(hits.sum() / counts.sum()), float(low), float(high)]
