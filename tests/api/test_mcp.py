"""The store as an agent holds it: the official client, in this process and over a pipe."""

import asyncio
import base64
import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine import Engine
from tests.api.conftest import Made

mcp = pytest.importorskip("mcp")
ROOT = Path(__file__).resolve().parents[2]
NAMES = ["ask", "browse", "cite", "find", "look", "sql"]


def talk(server: Any, work: Callable[[Any], Awaitable[None]]) -> None:
    """Connect a client and let it work."""

    async def run() -> None:
        async with mcp.Client(server) as client:
            await work(client)

    asyncio.run(run())


async def call(client: Any, tool: str, **given: Any) -> Any:
    """Call a tool and return its value; an error of it is an error here."""
    done = await client.call_tool(tool, given)
    assert not done.is_error, done.content
    return done.structured_content


def test_an_agent_browses_finds_looks_and_cites(engine: Engine) -> None:
    from api.mcp import build_server

    async def work(client: Any) -> None:
        listed = (await client.list_tools()).tools
        assert sorted(tool.name for tool in listed) == NAMES
        assert all(tool.annotations.read_only_hint for tool in listed)
        videos = (await call(client, "browse", name="o*"))["videos"]
        assert [video["name"] for video in videos] == ["one.mp4"]
        [best] = (await call(client, "find", text="a star", top=1))["moments"]
        assert best["best_at_seconds"] == engine.query("a star", 1).moments[0].peak_seconds
        shown = await client.call_tool(
            "look", {"video": best["video_id"], "seconds": best["best_at_seconds"], "width": 50}
        )
        picture = base64.b64decode(shown.content[0].data)
        assert picture == engine.frame(best["video_id"], best["best_at_seconds"], width=50)
        assert Image.open(io.BytesIO(picture)).width == 50
        span = {name: best[name] for name in ("start_seconds", "stop_seconds")}
        cited = await call(client, "cite", video=best["name"], **span)
        assert cited["citation"].startswith(f"{best['name']}, 0:0")
        assert cited["content_hash"] == engine.video(best["name"]).content_hash

    talk(build_server(engine), work)


def test_an_agent_asks_and_counts(engine: Engine) -> None:
    from api.mcp import build_server

    async def work(client: Any) -> None:
        said = await call(client, "ask", question="what colour is it?", choices=["red", "blue"])
        assert said["answer"] == engine.ask("what colour is it?", ["red", "blue"]).text
        found = await call(client, "sql", statement="SELECT count(*) AS n FROM videos")
        assert found == {"rows": [{"n": 2}], "of": 1}
        scores = "SELECT CLIP_MATCH(frame, 'a star') AS s FROM frames LIMIT 1"
        for tool, given in (("sql", {"statement": scores}), ("find", {"text": "a star"})):
            assert "made-up clips only" in (await call(client, tool, **given))["caution"]
        assert "made-up clips only" in said["caution"]

    talk(build_server(engine), work)


def test_an_agent_is_told_what_is_allowed(engine: Engine) -> None:
    from api.mcp import build_server

    async def work(client: Any) -> None:
        for tool, given, said in (
            ("look", {"video": "three.mp4", "seconds": 1}, "no video 'three.mp4'"),
            ("cite", {"video": 1, "start_seconds": 3, "stop_seconds": 2}, "allowed: a part of"),
            ("sql", {"statement": "DELETE FROM videos"}, "SELECT"),
            ("find", {"text": "a star", "top": 0}, "greater than or equal to 1"),
            ("find", {"text": "half \ud83c"}, "half of a letter, '\\ud83c'"),
            ("ask", {"question": "half \ud83c"}, "half of a letter"),
            ("ask", {"question": "which?", "choices": ["a", "\udc00"]}, "half of a letter"),
            ("find", {"text": "a star", "videos": [2**70]}, f"no video {2**70}"),
            ("sql", {"statement": "SELECT repeat('x', 1000000) AS x"}, "allowed: 262144"),
        ):
            done = await client.call_tool(tool, given)
            assert done.is_error
            assert said in done.content[0].text

    talk(build_server(engine), work)


def test_what_json_has_no_word_for(engine: Engine) -> None:
    from api.mcp import build_server

    async def work(client: Any) -> None:
        statement = "SELECT 'nan'::DOUBLE a, 'inf'::FLOAT b, 'ab'::BLOB c, MAP {'k': 1} m"
        found = await call(client, "sql", statement=statement)
        assert found["rows"] == [{"a": None, "b": None, "c": "YWI=", "m": {"k": 1}}]
        cited = await call(client, "cite", video=1, start_seconds=0, stop_seconds=1e300)
        assert cited["stop_seconds"] == engine.video(1).duration_seconds

    talk(build_server(engine), work)


def test_the_command_serves_a_pipe_and_changes_nothing(made: Made) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.store.rglob("*") if path.is_file()}
    program = "from api.cli.start import main; main()"
    server = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-c", program, "mcp", "--data", str(made.store), "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    async def work(client: Any) -> None:
        listed = await call(client, "browse")
        assert listed["of"] == 2
        found = await call(client, "find", text="a star", top=1)
        assert found["complete"]
        [best] = found["moments"]
        named = {"video": best["video_id"], "seconds": best["best_at_seconds"]}
        shown = await client.call_tool("look", {**named, "width": 64})
        assert shown.content[0].mime_type == "image/jpeg"
        assert Image.open(io.BytesIO(base64.b64decode(shown.content[0].data))).width == 64
        span = {name: best[name] for name in ("start_seconds", "stop_seconds")}
        cited = await call(client, "cite", video=best["video_id"], **span)
        assert cited["citation"].startswith(f"{best['name']}, ")
        assert best["name"] in {video["name"] for video in listed["videos"]}
        refused = await client.call_tool("look", {"video": "three.mp4", "seconds": 1})
        assert refused.is_error

    talk(server, work)
    after = {path: path.stat().st_mtime_ns for path in made.store.rglob("*") if path.is_file()}
    assert after == before
