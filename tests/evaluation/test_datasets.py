"""The official file formats, from small hand-made files and, where present, the real ones."""

import json

import pytest

from engine.errors import NotFoundError, UsageError
from engine.evaluation.datasets.how2qa import load_how2qa
from engine.evaluation.datasets.msrvtt import load_msrvtt
from engine.evaluation.datasets.nextqa import load_nextqa
from engine.evaluation.metrics import grounding

HEADER = "video_id,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"


def test_msrvtt(tmp_path) -> None:
    file = tmp_path / "test.csv"
    file.write_text('key,vid_key,video_id,sentence\nret0,msr1,video1,"a man, singing"\n')
    (item,) = load_msrvtt(file).captions
    assert (item.key, item.video, item.caption) == ("ret0", "video1", "a man, singing")


def test_how2qa_shuffles_the_same_way_each_time(tmp_path) -> None:
    file = tmp_path / "val.csv"
    file.write_text("".join(f"v{i},[1.5:9.0],w1,w2,w3,what?,right\n" for i in range(40)))
    data = load_how2qa(file)
    assert len(data.questions) == 40  # the first row is no header
    assert all(q.choices[q.answer] == "right" and q.clip == (1.5, 9.0) for q in data.questions)
    assert {q.answer for q in data.questions} == {0, 1, 2, 3}
    assert load_how2qa(file) == data


def test_nextqa_takes_the_answer_as_text_or_index(tmp_path) -> None:
    text, index = tmp_path / "text.csv", tmp_path / "index.csv"
    text.write_text(HEADER + "7,9,3,2,why,run,0,TP,walk,run,sit,lie,eat\n")
    index.write_text(
        HEADER.replace("video_id", "video") + "7,9,3,2,why,1,0,TP,walk,run,sit,lie,eat\n"
    )
    assert load_nextqa(text) == load_nextqa(index)
    (question,) = load_nextqa(text).questions
    assert (question.answer, question.kind, question.key) == (1, "TN", "7_0")


def test_nextgqa_spans(tmp_path) -> None:
    questions, spans = tmp_path / "val.csv", tmp_path / "gsub.json"
    questions.write_text(HEADER + "7,9,3,2,why,run,0,CW,walk,run,sit,lie,eat\n")
    spans.write_text(json.dumps({"7": {"duration": 30, "location": {"0": [[1, 2], [4, 5.5]]}}}))
    (question,) = load_nextqa(questions, grounding=spans).questions
    assert question.spans == ((1, 2), (4, 5.5))


def test_what_is_wrong_is_named(tmp_path) -> None:
    file = tmp_path / "bad.csv"
    with pytest.raises(NotFoundError, match=r"bad\.csv cannot be read"):
        load_msrvtt(file)
    file.write_text("key,video\n")
    with pytest.raises(UsageError, match="no column 'video_id'"):
        load_msrvtt(file)
    file.write_text("v,[0:1],a,b\n")
    with pytest.raises(UsageError, match=r"bad\.csv:1: 4 columns; expected 7"):
        load_how2qa(file)
    file.write_text("v,[0-1],a,b,c,d,e\n")
    with pytest.raises(UsageError, match=r"'\[0-1\]' is no span"):
        load_how2qa(file)
    file.write_text(HEADER + "7,9,3,2,why,fly,0,CW,walk,run,sit,lie,eat\n")
    with pytest.raises(UsageError, match="answer 'fly' is none of"):
        load_nextqa(file)


ROW = "7,9,3,2,why,run,0,CW,walk,run,sit,lie,eat\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column 'question'; found: nothing"),
        (HEADER, "no row below the header"),
        (HEADER.replace("video_id,", "clip,") + ROW, "no column 'video_id' or 'video'"),
        (HEADER + "7,9,3,2,why,run,0,CW,walk,run\n", r"bad\.csv:2: 10 columns; expected 13"),
        (HEADER + ROW.strip() + ",more\n", r"bad\.csv:2: 14 columns; expected 13"),
        (HEADER + ROW + ROW, "7_0 stands twice"),
        (HEADER + ROW[1:], "question 0 names no video"),
        (HEADER + ROW + '8,9,3,2,"why', r"bad\.csv:3: no CSV"),
        (HEADER + ROW.replace("why", "caf\xe9"), r"bad\.csv:2: not UTF-8; convert it"),
        (HEADER + ROW.replace(",run,0", ",5,0"), "answer '5' is none of walk, run"),
    ],
)
def test_a_broken_nextqa_file_is_told_by_its_line(tmp_path, text, said) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=said):
        load_nextqa(file)


def test_counts_are_taken_for_what_all_rows_are(tmp_path) -> None:
    """An answer of 2 among the choices 1 to 5 is the text, or the third: as the other rows say."""
    count = "8,9,3,2,how many,2,1,DC,1,2,3,4,5\n"
    texts, places = tmp_path / "texts.csv", tmp_path / "places.csv"
    texts.write_text("\ufeff" + HEADER + ROW + "\n" + count)
    places.write_text(HEADER + ROW.replace(",run,0", ",1,0") + count)
    assert [each.answer for each in load_nextqa(texts).questions] == [1, 1]
    assert [each.answer for each in load_nextqa(places).questions] == [1, 2]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("[", "no file of spans"),
        ("[1]", "no file of spans"),
        ('{"7": {"location": {"0": [1, 2]}}}', "no file of spans"),
        ('{"7": {"0": [[1, 2]]}}', "no file of spans"),
        ('{"7": {"location": {"0": [[5, 2]]}}}', r"\[5, 2\] of 7_0 is no span"),
        ('{"7": {"location": {"0": [[NaN, 2]]}}}', r"\[nan, 2\] of 7_0 is no span"),
        ('{"9": {"location": {"0": [[1, 2]]}}}', "spans of none of the questions"),
    ],
)
def test_a_broken_file_of_spans_is_refused(tmp_path, told, said) -> None:
    (tmp_path / "val.csv").write_text(HEADER + ROW)
    (tmp_path / "gsub.json").write_text(told)
    with pytest.raises(UsageError, match=said):
        load_nextqa(tmp_path / "val.csv", grounding=tmp_path / "gsub.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"bad\.csv: no row"),
        ("v,[1:2],a,b,c,d,e\nv,[9:2],a,b,c,d,e\n", r"bad\.csv:2: '\[9:2\]' is no span"),
        ("v,[nan:2],a,b,c,d,e\n", "is no span"),
        ("v,[1:inf],a,b,c,d,e\n", "is no span"),
    ],
)
def test_a_broken_how2qa_file_is_told_by_its_line(tmp_path, text, said) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_how2qa(tmp_path / "bad.csv")


def test_a_caption_that_stands_twice_is_refused(tmp_path) -> None:
    row = "ret0,msr1,video1,a man\n"
    (tmp_path / "bad.csv").write_text("key,vid_key,video_id,sentence\n" + row + row)
    with pytest.raises(UsageError, match="ret0 stands twice"):
        load_msrvtt(tmp_path / "bad.csv")


@pytest.mark.real
def test_the_real_files(real_data) -> None:
    folder = real_data / "annotations"
    assert len(load_msrvtt(folder / "msrvtt/MSRVTT_JSFUSION_test.csv").captions) == 1000
    assert len(load_how2qa(folder / "how2qa/how2QA_val_release.csv").questions) == 2852
    assert len(load_how2qa(folder / "how2qa/how2QA_test_public_release.csv").questions) == 2937
    assert len(load_nextqa(folder / "nextqa/val.csv").questions) == 4996
    assert len(load_nextqa(folder / "nextqa/test.csv").questions) == 8564


# whole video, middle third, centre point and hull of the truth, as the field's own scripts score
ANCHORS = {
    "val": [
        (21.35, 21.23, 10.63, 21.34, 21.23, 10.63),
        (24.60, 30.97, 19.74, 17.06, 26.89, 8.73),
        (26.44, 26.44, 26.44, 0, 0, 0),
        (93.30, 95.06, 91.96, 93.30, 95.06, 91.96),
    ],
    "test": [
        (21.14, 20.57, 8.68, 21.14, 20.57, 8.68),
        (23.43, 30.47, 17.86, 16.72, 25.99, 8.57),
        (24.02, 24.02, 24.02, 0, 0, 0),
        (92.42, 93.63, 90.62, 92.42, 93.63, 90.62),
    ],
}


@pytest.mark.real
@pytest.mark.parametrize("split", ["val", "test"])
def test_trivial_predictors_score_what_the_official_scripts_give(real_data, split) -> None:
    folder = real_data / "annotations" / "nextgqa"
    data = load_nextqa(folder / f"{split}.csv", grounding=folder / f"gsub_{split}.json")
    durations = {
        video: entry["duration"]
        for video, entry in json.loads((folder / f"gsub_{split}.json").read_text()).items()
    }
    truth = {q.key: q.spans for q in data.questions}
    length = {q.key: durations[q.video] for q in data.questions}
    right = {q.key: q.answer for q in data.questions}
    predictors = [
        {key: (0.0, end) for key, end in length.items()},
        {key: (end / 3, 2 * end / 3) for key, end in length.items()},
        {key: (end / 2, end / 2) for key, end in length.items()},
        {k: (min(s for s, _ in spans), max(e for _, e in spans)) for k, spans in truth.items()},
    ]
    for spans, anchor in zip(predictors, ANCHORS[split], strict=True):
        found = grounding(right, right, truth, spans)
        measured = (
            found.mean_iop,
            found.iop_at_03,
            found.iop_at_05,
            found.mean_iou,
            found.iou_at_03,
            found.iou_at_05,
        )
        assert measured == pytest.approx(anchor, abs=0.006)
        assert found.acc_gqa == pytest.approx(anchor[2], abs=0.006)
