"""Answers in words by a model that sees, behind a real server: found, looked at, checked."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine import Client, Engine, ExecutionError, NotFoundError, UsageError
from engine.results import NOT_SHOWN, Claim, Outlook, SaidPiece, Spending, Step
from tests.api.conftest import URL, Made, Ran
from tests.api.conftest import serving as serving_app
from tests.chat_server import Answer, Came, Reply, said, serving, streamed

KEY = "sk-very-secret"
QUESTION = "What is the red thing?"
TOLD = "It is a star [1]. It turns [1, 2]. I like it. It sings [2]."


def model(asked: Came) -> Reply:
    """Tell of two moments; of the claims one is so, one is not, one cannot be told."""
    if "Do they show that this is so" in asked.text:
        word = {"a star": "yes", "turns": "No, it does not.", "sings": "unclear"}
        return said(next(word for part, word in word.items() if part in asked.text))
    return streamed(*re.findall(r".{1,9}", TOLD)) if asked.body.get("stream") else said(TOLD)


@dataclass
class Seen:
    """An engine on real clips, and a model for it whose answers tests choose."""

    engine: Engine
    came: list[Came]
    answer: Answer = model

    def asking(self, answer: Answer = model) -> tuple[Engine, list[Came]]:
        """Have the model answer so from now on."""
        self.answer = answer
        self.came.clear()
        return self.engine, self.came


@pytest.fixture(scope="module")
def seen(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One model loaded for all tests of this file; what is kept of it is kept for all of them."""
    copy = shutil.copytree(made.store, tmp_path_factory.mktemp("seen") / "store")
    one: list[Seen] = []
    with serving(lambda asked: one[0].answer(asked)) as (url, came), opened(copy, url) as engine:
        one.append(Seen(engine, came))
        yield one[0]


def opened(data: Path, url: str) -> Engine:
    """An engine that asks the model there."""
    looker = {"looker_url": url, "looker_model": "sees", "looker_key": KEY}
    return Engine.open(data, device="cpu", **looker)


def test_found_looked_at_and_checked(seen: Seen) -> None:
    steps: list[Step] = []
    engine, came = seen.asking()
    found = engine.ask(QUESTION, max_frames=6, follow=steps.append)
    outlook, *rest = steps
    assert isinstance(outlook, Outlook)
    assert outlook == engine.foresee(QUESTION, max_frames=6)
    words = [step.text for step in rest if isinstance(step, SaidPiece)]
    assert "".join(words) == TOLD == found.text
    assert len(words) > 3
    assert [step for step in rest if isinstance(step, Claim)] == found.claims
    told = [(claim.text, claim.verdict, len(claim.moments)) for claim in found.claims]
    assert told == [
        ("It is a star.", "confirmed", 1),
        ("It turns.", "rejected", 2),
        ("I like it.", "unverified", 0),
        ("It sings.", "unverified", 1),
    ]
    assert [claim.said for claim in found.claims] == [
        *("yes", "No, it does not.", "it names no moment", "unclear"),
    ]
    assert found.confidence == 0.25
    assert found.evidence == outlook.moments[:2]
    # the frames of a claim are those that were shown of its moments
    first, *checks = came
    count = len(outlook.moments)
    assert len(first.pictures) == count * (6 // count) <= 6
    each = 6 // count
    assert len(checks) == 3
    for check, places in zip(checks, [(0,), (0, 1), (1,)], strict=True):
        shown = [p for at in places for p in first.pictures[at * each : (at + 1) * each]]
        assert len(check.pictures) == min(4, len(shown))
        assert all(any(np.array_equal(p, other) for other in shown) for p in check.pictures)
    pictures = sum(len(asked.pictures) for asked in came)
    assert found.cost == Spending(4, pictures)
    assert found.cost.calls <= outlook.cost.calls == 8
    assert pictures <= outlook.cost.frames
    for at, moment in enumerate(outlook.moments, start=1):
        assert f"Moment [{at}] of {moment.name}" in first.text


def test_what_was_asked_costs_nothing_again_and_the_budget_is_kept(seen: Seen) -> None:
    engine, came = seen.asking()
    asked = "What is there?"
    found = engine.ask(asked, max_calls=2)
    assert found.cost.calls == len(came) == 2
    assert [claim.verdict for claim in found.claims] == ["confirmed"] + ["unverified"] * 3
    assert "2 calls or" in found.claims[1].said
    assert engine.ask(asked, max_calls=2).claims[1].verdict == "rejected"  # one more
    engine.ask(asked)
    heard: list[Step] = []
    again = engine.ask(asked, follow=heard.append)
    assert (again.cost, len(came)) == (Spending(), 4)
    assert SaidPiece(TOLD) in heard


def test_a_session_goes_on_in_the_folder(data: Path) -> None:
    with serving(model) as (url, came):
        with opened(data, url) as engine:
            first = engine.ask(QUESTION, videos=["two.mp4"])
        with opened(data, url) as engine:
            second = engine.ask("And then?", session=first.session)
            assert second.session == first.session
            assert {moment.name for moment in second.evidence} == {"two.mp4"}
            with pytest.raises(NotFoundError, match="no session 'x'"):
                engine.ask("And?", session="x")
    turns = next(asked for asked in came if "Question: And then?" in asked.text).body["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == TOLD


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FIT = json.dumps({"answer": {"n": 2}, "claims": [{"text": "two stars", "moments": [1]}, {"te": 1}]})


@pytest.mark.parametrize(
    ("replies", "data_found"),
    [
        ([FIT], {"n": 2}),
        ([f"```json\n{FIT}\n```"], {"n": 2}),
        (["Two.", FIT], {"n": 2}),
        ([FIT.replace("2", '"2"'), FIT], {"n": 2}),
        ([FIT.replace("2", '2, "x": NaN'), FIT], {"n": 2}),
        ([FIT.replace("2", '2, "x": "\\ud800"'), FIT], {"n": 2}),
        (["[" * 100_000, FIT], {"n": 2}),
        (['{"answer": null, "claims": []}'], None),
    ],
)
def test_an_answer_fits_a_schema(seen: Seen, replies: list[str], data_found: Any) -> None:
    left = list(replies)

    def answer(asked: Came) -> Reply:
        return said("yes" if "Do they show" in asked.text else left.pop(0))

    engine, came = seen.asking(answer)
    found = engine.ask(f"How many? {replies}", schema=SCHEMA)
    assert found.data == data_found
    assert not left
    form = came[0].body["response_format"]["json_schema"]["schema"]["properties"]["answer"]
    assert form == {"anyOf": [SCHEMA, {"type": "null"}]}
    if data_found is None:
        assert (found.text, found.claims) == (NOT_SHOWN, [])
    else:
        assert found.text == '{"n": 2}'
        assert [(c.text, c.verdict) for c in found.claims] == [("two stars", "confirmed")]


@pytest.mark.parametrize(
    ("reply", "choice", "text"),
    [
        ("a blue circle\nIt is round [1].", 1, "a blue circle"),
        ("**A red star.** [1]", 0, "a red star"),
        ("It must be a red star", 0, "a red star"),
        ("NOT SHOWN", None, NOT_SHOWN),
    ],
)
def test_one_of_the_choices(seen: Seen, reply: str, choice: int | None, text: str) -> None:
    engine, came = seen.asking(lambda _: said(reply))
    found = engine.ask(f"What? {reply}", ["a red star", "a blue circle"], max_calls=1)
    assert (found.choice, found.text, len(came)) == (choice, text, 1)
    assert "a red star\na blue circle\n" in came[0].text


def wrong_then(code: int) -> Answer:
    return lambda asked: Reply(b"{}", code) if "Do they show" in asked.text else said("A star [1].")


def test_a_check_that_fails_leaves_the_claim_open(seen: Seen) -> None:
    engine, _ = seen.asking(wrong_then(400))
    (claim,) = engine.ask("What fails?").claims
    assert claim.verdict == "unverified"
    assert claim.said.startswith("not checked: the model at http://127.0.0.1:")


@pytest.mark.parametrize(
    ("answer", "choices", "message"),
    [
        (lambda _: said(" "), None, r"sees at http://\S+ gave no answer: it said nothing"),
        (lambda _: said("Maybe."), ["a", "b"], "'Maybe.'; expected one of a, b"),
        (lambda _: said("a or b"), ["b", "or"], "expected one of b, or"),
        (lambda _: Reply(f"no {KEY}".encode(), 403), None, "it answered 403$"),
        (lambda _: streamed("half", done=False), None, "its reply broke off"),
    ],
)
def test_what_cannot_be_answered_is_said(
    seen: Seen, answer: Answer, choices: list[str] | None, message: str
) -> None:
    engine, _ = seen.asking(answer)
    with pytest.raises(ExecutionError, match=message) as raised:
        engine.ask(f"What of {message}?", choices, follow=lambda _: None)
    assert KEY not in str(raised.value)


def test_a_schema_needs_a_model_and_two_models_are_refused(data: Path, engine: Engine) -> None:
    with pytest.raises(UsageError, match="a schema needs a model that answers in words"):
        engine.ask("How many?", schema=SCHEMA)
    with pytest.raises(UsageError, match="unknown keyword 'oneOf'"):
        engine.ask("How many?", schema={"oneOf": []})
    with pytest.raises(UsageError, match="max_calls is 0; allowed: 1 or more"):
        engine.ask("How many?", max_calls=0)
    with pytest.raises(UsageError, match="looker_url and looker_local name two models"):
        Engine.open(data, looker_url="http://x/v1", looker_local="here")
    with pytest.raises(UsageError, match="expected a URL"):
        Engine.open(data, looker_url="localhost")


def test_a_server_sends_each_step(seen: Seen) -> None:
    engine, _ = seen.asking()
    with serving_app(create_app(engine, ServerSettings()), ServerSettings()) as port:
        client = Client(f"http://127.0.0.1:{port}")
        steps: list[Step] = []
        found = client.ask(QUESTION, follow=steps.append)
        assert [type(step).__name__ for step in steps[:1]] == ["Outlook"]
        assert "".join(step.text for step in steps if isinstance(step, SaidPiece)) == TOLD
        assert [step for step in steps if isinstance(step, Claim)] == found.claims
        assert client.foresee(QUESTION) == steps[0]
        plain = client.ask(QUESTION, session=found.session)
        assert plain.text == TOLD
    for step in (found, *steps):
        assert KEY not in repr(step)


def test_an_error_on_the_way_is_an_event(seen: Seen) -> None:
    gone = {"question": "What?", "videos": ["none*"]}
    engine, _ = seen.asking(lambda _: Reply(b"{}", 400))
    with TestClient(create_app(engine, ServerSettings()), base_url=URL) as client:
        sse = {"Accept": "text/event-stream"}
        text = client.post("/ask", json={"question": "What now?"}, headers=sse).text
        assert client.post("/ask", json={"question": "What now?"}).status_code == 502
        assert client.post("/ask", json=gone, headers=sse).status_code == 404
    names = re.findall(r"^event: (\w+)$", text, re.MULTILINE)
    assert names == ["outlook", "error"]
    told = json.loads(text.rpartition("data: ")[2])
    assert (told["status"], told["kind"]) == (502, "LookerError")
    assert "it answered 400" in told["detail"]


def test_the_command_tells_each_step(
    cli: Callable[..., Ran], data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    schema = tmp_path / "form.json"
    schema.write_text(json.dumps({"type": "string"}))
    with serving(model) as (url, came):
        monkeypatch.setenv("DEJAVU_LOOKER_URL", url)
        monkeypatch.setenv("DEJAVU_LOOKER_KEY", KEY)
        place = ("--data", data, "--device", "cpu")
        before = cli("ask", QUESTION, "--dry-run", "--max-calls", 3, *place)
        assert not came
        assert f"default at {url} looks at" in before.text
        assert "at most 3 calls" in before.text
        ran = cli("ask", QUESTION, *place)
        assert ran.code == 0
        assert "  confirmed: It is a star." in ran.text
        assert "  rejected: It turns." in ran.text
        assert re.search(r"seen in \w+\.mp4 .*  file:///\S+\.mp4#t=\d+\.\d+,\d+\.\d+", ran.text)
        assert "4 calls" in ran.text
        assert TOLD in ran.err.replace("\n", "")
        lines = [
            json.loads(line) for line in cli("ask", QUESTION, "--steps", *place).text.splitlines()
        ]
        assert [line["step"] for line in lines][:2] == ["outlook", "said"]
        assert lines[-1]["step"] == "answer"
        document = json.loads(cli("ask", QUESTION, "--json", *place).text)
        assert document["text"] == TOLD
        on = cli("ask", "And?", "--session", document["session"], "--json", *place)
        assert json.loads(on.text)["session"] == document["session"]
        no = cli("ask", "How?", "--schema", schema, *place)
        assert no.code == 1
        assert "gave no answer: it is no JSON" in no.err
        for each in (before, ran, no):
            assert KEY not in each.text + each.err


def test_a_key_calls_the_model_so_often_and_no_more(seen: Seen) -> None:
    engine, came = seen.asking()
    settings = ServerSettings(
        api_keys="lab=read:look-1,all=write:change-1", key_limits="lab.model_calls=2"
    )
    lab, more = ({"Authorization": f"Bearer {secret}"} for secret in ("look-1", "change-1"))
    asked = {"question": "What may a key?"}
    filtered = "SELECT count(*) AS n FROM frames WHERE AI_FILTER(frame, 'Is it a star?')"
    with TestClient(create_app(engine, settings), base_url=URL) as client:
        told = client.post("/ask", json=asked, headers=lab).json()
        assert [claim["verdict"] for claim in told["claims"]] == ["confirmed"] + ["unverified"] * 3
        assert "model_calls of this key are used up" in told["claims"][1]["said"]
        for path, body in (("/ask", {"question": "And then?"}), ("/sql", {"sql": filtered})):
            refused = client.post(path, json=body, headers=lab)
            assert (refused.status_code, len(came)) == (429, 2), refused.text
            assert (refused.json()["kind"], refused.json()["limit"]) == ("LimitError", "calls")
            assert 43_000 < int(refused.headers["retry-after"]) <= 43_200
        again = {"question": asked["question"], "max_calls": 1}
        assert client.post("/ask", json=again, headers=lab).status_code == 200  # is kept
        told = client.post("/ask", json=asked, headers=more).json()
        assert told["claims"][1]["verdict"] == "rejected"
        figures = client.get("/metrics", headers=lab).text
    assert 'dejavu_key_model_calls_total{key="lab"} 2.0' in figures
