"""BM25 over lines against its plain definition, and words of all scripts."""

import random
from math import log
from pathlib import Path

import pyarrow as pa
import pytest

from engine.search.tokens import tokens, words_sought
from engine.search.words import Spoken, WordCounts
from engine.storage.store import Store
from engine.storage.transcripts import Said
from engine.video.container import VideoInfo
from schemas.tables import LINES


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with Store.open(tmp_path / "data") as opened:
        for name in "abc":
            info = VideoInfo(f"/{name}", "h264", 8, 8, 0, 1.0, 9.0, 0.0, 9, 1, "yuv420p", False)
            opened.catalog.add_video(info, name * 64, name)
        yield opened


def say(store: Store, video_id: int, source: str, texts: list[str]) -> None:
    count = len(texts)
    columns = [[float(n) for n in range(count)], [n + 1.0 for n in range(count)], texts]
    store.transcripts.put(video_id, Said(source, None, source, pa.table(columns, schema=LINES)))


def defined(documents: list[list[str]], sought: set[str]) -> list[float]:
    """Okapi BM25 (k1 1.2, b 0.75, idf ln(1 + (N - n + .5) / (n + .5))), word by word."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        score = 0.0
        for word in sought:
            holders = sum(word in other for other in documents)
            often = words.count(word)
            idf = log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
            score += idf * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * len(words) / mean))
        scores.append(score)
    return scores


def test_scores_are_what_the_definition_says_whatever_comes_and_goes(store: Store) -> None:
    spoken, draw = Spoken(store.transcripts), random.Random(5)
    vocabulary = [f"w{number}" for number in range(30)]
    said: dict[tuple[int, str], list[str]] = {}
    for _ in range(12):
        key = draw.randint(1, 3), draw.choice(("x.srt", "y.vtt"))
        if key in said and draw.random() < 0.4:
            store.transcripts.remove(*key)
            del said[key]
        else:
            lengths = [draw.randint(0, 9) for _ in range(draw.randint(0, 40))]
            said[key] = [" ".join(draw.choices(vocabulary, k=length)) for length in lengths]
            say(store, *key, said[key])
        lines = [(*key, at) for key in sorted(said) for at in range(len(said[key]))]
        sought = set(draw.choices([*vocabulary, "absent"], k=draw.randint(1, 5)))
        found = spoken.words().search(" ".join(sought))
        sources = spoken.words().sources
        got = {
            (sources[at].part.video_id, sources[at].part.source, int(line)): score
            for at, line, score in zip(found.sources, found.lines, found.scores, strict=True)
        }
        documents = [said[video, source][at].split() for video, source, at in lines]
        if not documents:
            assert got == {}
            continue
        expected = zip(lines, defined(documents, sought), strict=True)
        assert got == pytest.approx({line: score for line, score in expected if score > 0})
        assert list(found.scores) == sorted(found.scores, reverse=True)
        for at, line, share in zip(found.sources, found.lines, found.shares, strict=True):
            own_words = set(said[sources[at].part.video_id, sources[at].part.source][line].split())
            held = tuple(sum(w in d for d in documents) for w in sought)
            counts = WordCounts(len(documents), sum(map(len, documents)), held)
            weights = dict(zip(sought, counts.weights, strict=True))
            own = sum(weights[word] for word in sought & own_words)
            assert share == pytest.approx(own / sum(weights.values()))


@pytest.mark.parametrize(
    ("line", "sought"),
    [
        ("The Red Car", "RED"),
        ("Straße in Köln", "koln STRASSE"),
        ("ﬁne ｗｉｄｅ letters", "fine wide"),
        ("ΟΔΟΣ Αθήνα", "οδος αθηνα"),
        ("ещё раз Ёлка", "елка еще"),
        ("İstanbul'da", "istanbul"),
        ("日本語の字幕です", "字幕"),
        ("日本語", "語"),
        ("ภาษาไทยง่าย", "ไทย"),
        ("हिन्दी में", "हिन्दी"),
        ("rot_blau x2", "blau"),
        ("cafe\u0301", "café"),
    ],
)
def test_words_of_all_scripts_are_found(line: str, sought: str) -> None:
    words = words_sought(sought)
    assert words
    assert set(words) <= set(tokens(line))


def test_what_is_another_word_is_not_found() -> None:
    assert not set(words_sought("car")) & set(tokens("scar carpet"))
    assert not set(words_sought("本日")) & set(tokens("日本語"))
    assert words_sought("… !?") == []
    assert words_sought("Das das DAS") == ["das"]
