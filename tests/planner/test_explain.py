"""What EXPLAIN says: one line per node, costs, rules, and what really happened."""

from dataclasses import replace

import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import ParseError
from engine.operators.base import Context
from engine.operators.scan import Scan
from engine.planner import logical
from engine.planner.bind import bind
from engine.planner.cost import estimate_all
from engine.planner.explain import describe, explain_text, show, tree
from engine.planner.logical import Join, Need, Plan, Relational, transform, walk
from engine.planner.optimize import RULES, optimize
from engine.planner.parse import ExplainForm, parse
from engine.planner.reasons import not_done
from engine.search.work import Embedded, Refined, Run
from engine.sql import run_sql
from schemas.explain import ExplainOut
from tests.asking import Videos

SQL = (
    "SELECT f.seconds, VIDEO_QA(f.video_id, 'what?') AS a FROM frames f"
    " JOIN videos v USING (video_id) WHERE v.name LIKE 'v%' AND f.seconds < 3"
    " AND CLIP_MATCH(f.frame, 'a dog') ORDER BY CLIP_MATCH(f.frame, 'a cat') DESC LIMIT 2"
)


def plan(sql: str) -> Relational:
    return bind(parse(sql), false_match_rate=0.01)


def test_every_node_has_a_line_and_a_cost(videos: Videos, sandbox: Sandbox) -> None:
    for sql in (SQL, "SELECT * FROM moments('a' THEN 'b')", "SELECT 1 FROM gops LIMIT 3"):
        made = optimize(plan(sql))[0]
        assert len(estimate_all(made, videos.context(sandbox))) == len(tree(made))
        assert [node for node, _ in tree(made)][1:] == list(walk(made))[1:]
    assert videos.asked == []


def test_nothing_reused_saves_nothing(shared_videos: Videos, sandbox: Sandbox) -> None:
    context = shared_videos.context(sandbox)
    context.work.embedded.append(Embedded(1, 1, 10, 10, macs=5.0, macs_dense=5.0, complete=False))
    text = explain_text(plan(SQL), (), context, analyzed=1.0)
    assert "saved: none of the multiply-adds, none of wall time" in text
    assert "not everything that was asked for could be embedded" in text


def test_costs_follow_the_work(videos: Videos, sandbox: Sandbox) -> None:
    context = videos.context(sandbox)
    sql = "SELECT seconds FROM frames WHERE CLIP_MATCH(frame, 'a') > 0.3 AND video_id = {}"
    seconds = []
    for video in (1, 3):
        costs = estimate_all(optimize(plan(sql.format(video)))[0], context)
        seconds.append(sum(cost.seconds for cost in costs))
    assert seconds[1] > 10 * seconds[0]  # ten seconds of the third video are not embedded
    rates = {"decode": {"h264 of 2^12": [1e9, 1.0]}, "encode": {"None on auto": [1e9, 1.0]}}
    videos.store.catalog.set_calibration(videos.space.key, "rates", rates)
    costs = estimate_all(optimize(plan(sql.format(3)))[0], videos.context(sandbox))
    assert sum(cost.seconds for cost in costs) < 2 * seconds[0]


def test_the_catalog_is_read_once_for_all_estimates(
    shared_videos: Videos, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    scanned = Scan._read

    def noting(scan: Scan, context: Context) -> object:
        read.append(scan.relation)
        return scanned(scan, context)

    monkeypatch.setattr(Scan, "_read", noting)
    made = optimize(plan(SQL))[0]
    costs = estimate_all(made, shared_videos.context(sandbox))
    scans = [node.relation for node in walk(made) if isinstance(node, logical.Scan)]
    assert sorted(read) == sorted(scans) == ["gops", "videos", "videos"]
    rows = {
        type(node).__name__: cost.rows for (node, _), cost in zip(tree(made), costs, strict=True)
    }
    assert rows["SemiJoin"] == 6  # GOPs that begin within three seconds, of three videos


def test_what_happened_is_told(shared_videos: Videos, sandbox: Sandbox) -> None:
    context = shared_videos.context(sandbox)
    work = context.work
    work.runs[0] = Run(rows=2, batches=1, seconds=0.5)
    work.found.append("flat")
    work.embedded.append(
        Embedded(
            1,
            3,
            10,
            2,
            8,
            1000,
            850,
            1e9,
            5e9,
            0.5,
            0.75,
            saved_seconds=1.5,
            choice="gate: it was faster",
        )
    )
    work.refined.append(Refined(12, 0.25, False, 0.987))
    made, rules = optimize(plan(SQL))
    lines = explain_text(made, rules, context, analyzed=1.25).splitlines()
    assert "| 2 rows, 0.500 s" in lines[0]
    assert all("not read" in line for line in lines[1 : len(tree(made))])
    assert lines[len(tree(made)) :] == [
        "rules: " + ", ".join(rules),
        lines[len(tree(made)) + 1],
        "took: 1.250 s",
        "index: flat",
        "frames from store: 0",
        "decoded: 3 GOPs of 1 videos in 0.50 s",
        "embedded: 10 frames in 0.75 s, 2 full, 8 with reuse, 85.0% of the tokens reused",
        "saved: 80.0% of the multiply-adds, 1.50 s of wall time",
        "strategy: gate: it was faster",
        "refined: 12 rows in 0.25 s, the order is certain with 99%, the budget ended first",
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules_are_pure_and_end(rule: object) -> None:
    made = plan(SQL)
    before = show(made)
    optimize(made, [rule])  # type: ignore[list-item]
    assert show(made) == before


def test_rules_that_undo_one_another_are_an_error() -> None:
    def toggle(plan: Plan) -> Plan:
        assert isinstance(plan, Relational)
        needs = () if plan.needs else (Need("frames_1", 1),)
        return replace(plan, needs=needs)

    with pytest.raises(AssertionError, match="undo one another"):
        optimize(plan("SELECT * FROM frames"), [toggle])


def test_transform_keeps_what_it_does_not_change() -> None:
    made = plan(SQL)
    assert transform(made, lambda node: node) == made
    assert made.joins == (Join("frames_1", "videos_1", "video_id", "video_id"),)
    assert made.needs == (Need("frames_1", 2, "__match_2"),)


EMPTY = (  # how many nodes are read, each of which gives no rows or is below one that gives none
    ("SELECT * FROM gops WHERE gop > 99", 2, 0),
    ("SELECT * FROM moments('a dog', min_score => 0.999)", 4, 0),
    ("SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.999", 5, 0),
    ("SELECT g.gop FROM gops g JOIN videos v USING (video_id) WHERE v.name = 'no'", 4, 1),
)


@pytest.mark.parametrize(("sql", "read", "unread"), EMPTY)
def test_what_was_read_and_gave_nothing_is_not_called_unread(
    sql: str, read: int, unread: int, shared_videos: Videos, sandbox: Sandbox
) -> None:
    def ran(form: ExplainForm) -> str:
        context = shared_videos.context(sandbox)
        found = run_sql(context, sql, max_rows=9, explain=True, analyze=True, form=form)
        return str(found.explain)

    lines = ran("text").splitlines()[: read + unread]
    assert "| 0 rows" in lines[0]
    assert sum(" s of its own" in line for line in lines) == read
    assert sum("not read" in line for line in lines) == unread
    assert ran("json").count('"actual": null') == unread


def test_estimates_are_made_before_the_statement_runs(videos: Videos, sandbox: Sandbox) -> None:
    sql = "SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > -2 AND video_id = 3"
    planned = run_sql(videos.context(sandbox), f"EXPLAIN {sql}", max_rows=100).explain
    assert "20 to embed" in planned
    done = run_sql(videos.context(sandbox), f"EXPLAIN ANALYZE {sql}", max_rows=100).explain
    assert "20 to embed" in done
    assert "embedded: 20 frames" in done
    again = run_sql(videos.context(sandbox), f"EXPLAIN ANALYZE {sql}", max_rows=100).explain
    assert "to embed" not in again


def test_seconds_of_its_own_add_up(videos: Videos, sandbox: Sandbox) -> None:
    sql = "EXPLAIN ANALYZE SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.2"
    text = run_sql(videos.context(sandbox), sql, max_rows=100).explain
    lines = [line.split(" | ")[1].split(", ") for line in text.splitlines() if " | " in line]
    whole = float(lines[0][1].split()[0])
    own = sum(float(line[2].split()[0]) for line in lines if len(line) > 2)
    assert own == pytest.approx(whole, abs=0.005)


NOT_PUSHED = {
    "random() < 2": "it is not decided by one row alone",
    "f.seconds > 'x'": "it could fail on rows that something else drops",
    "v.codec IS NULL": "an outer join keeps rows without one of v",
    "d.n > 1": "fewer rows in d could change others of its rows",
}


@pytest.mark.parametrize("condition", NOT_PUSHED)
def test_what_is_not_pushed_is_said_with_the_reason(condition: str) -> None:
    sql = (
        "SELECT f.frame FROM frames f LEFT JOIN videos v ON v.video_id = f.video_id"
        " JOIN (SELECT video_id, count(*) AS n FROM gops GROUP BY video_id) d"
        f" ON d.video_id = f.video_id WHERE f.seconds < 3 AND {condition}"
    )
    lines = not_done(optimize(plan(sql))[0])
    assert [line for line in lines if "seconds < 3" in line] == []
    assert any(NOT_PUSHED[condition] in line for line in lines), lines


SCORE = "CLIP_MATCH(frame, 'a')"
NO_NEED = "no ORDER BY score DESC LIMIT k"
WITHOUT = {
    f"SELECT {SCORE} AS s FROM frames": NO_NEED,
    f"SELECT {SCORE} AS s FROM frames ORDER BY s DESC, frame LIMIT 3": NO_NEED,
    f"SELECT {SCORE} AS s FROM frames WHERE CLIP_MATCH(frame, 'b') > 0 ORDER BY s DESC LIMIT 3": "",
    f"SELECT {SCORE} AS s FROM frames ORDER BY s DESC LIMIT 3": "",
    "SELECT frame FROM frames": "",
}


@pytest.mark.parametrize("sql", WITHOUT)
def test_where_no_index_is_used_the_reason_is_said(
    sql: str, shared_videos: Videos, sandbox: Sandbox
) -> None:
    made = optimize(plan(sql))[0]
    said = [line for line in not_done(made) if line.startswith("index not used")]
    if WITHOUT[sql]:
        assert len(said) == 1
        assert WITHOUT[sql] in said[0]
    if any(type(node).__name__ == "Search" for node in walk(made)):
        assert said == []
    context = shared_videos.context(sandbox)
    shown = run_sql(context, f"EXPLAIN {sql}", max_rows=10).explain.splitlines()
    assert [line for line in shown if line.startswith("index not used")] == said


@pytest.mark.parametrize("analyze", [False, True])
def test_json_says_what_the_text_says(
    shared_videos: Videos, sandbox: Sandbox, analyze: bool
) -> None:
    words = "ANALYZE, FORMAT JSON" if analyze else "format json"
    result = run_sql(shared_videos.context(sandbox), f"EXPLAIN ({words}) {SQL}", max_rows=10)
    [text] = result.table.column("explain").to_pylist()
    told = ExplainOut.model_validate_json(text)
    nodes, waiting = [], [told.plan]
    while waiting:
        node = waiting.pop(0)
        nodes.append(node)
        waiting = node.children + waiting
    made = optimize(plan(SQL))
    assert [node.detail for node in nodes] == [describe(node) for node, _ in tree(made[0])]
    assert [node.operator for node in nodes[1:]] == [
        type(node).__name__ for node in list(walk(made[0]))[1:]
    ]
    assert told.rules == made[1]
    assert told.not_done == not_done(made[0])
    assert told.estimated_seconds == pytest.approx(sum(n.estimated.seconds for n in nodes))
    assert (told.took_seconds is not None) == (told.work is not None) == analyze
    if analyze:
        runs = [node.actual for node in nodes if node.actual is not None]
        assert runs[0].rows <= 2
    else:
        assert all(node.actual is None for node in nodes)


def test_how_explain_is_asked_is_checked() -> None:
    assert parse("EXPLAIN (SELECT 1)").form == "text"
    assert parse("explain analyze (format json) SELECT 1").explain == "analyze"
    with pytest.raises(ParseError, match="EXPLAIN has 'format xml'; allowed: ANALYZE, FORMAT JSON"):
        parse("EXPLAIN (format xml) SELECT 1")
