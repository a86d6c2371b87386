"""Answer a question: find where to look → look → check each claim against its frames."""

from dataclasses import replace

from engine.answering.kept import AnswerFile, Exchange
from engine.answering.reread import STRETCHES
from engine.asking.asked import AskedQuestion, Steps
from engine.asking.builtin import Heads, answer_likeliest, sought_in
from engine.operators.base import Context, Reply
from engine.results import Answer, Follow, unfollowed
from engine.search.selection import select_frames


def ask(context: Context, steps: Steps, follow: Follow = unfollowed) -> Answer:
    """Answer by steps; whoever follows sees each as it is made, what it costs before it is spent.

    Who wants no more raises from `follow`. The answer itself comes back.
    """
    follow(steps.find(context))
    answer, checked = steps.look(context, follow), []
    for claim in answer.claims:
        checked.append(steps.check(context, claim))
        follow(checked[-1])
    return steps.conclude(replace(answer, claims=checked))


def remember(kept: AnswerFile, question: AskedQuestion, answer: Answer) -> Answer:
    """Add an answer to its session, or begin one, and name that."""
    videos = tuple(dict.fromkeys(moment.video_id for moment in answer.evidence))
    exchange = Exchange(question.text, answer.text, videos)
    return replace(answer, session=kept.add(question.session, exchange))


def reply(context: Context, video_id: int, question: AskedQuestion, heads: Heads) -> Reply | None:
    """Answer as VIDEO_QA does: None where nothing of the video can be embedded."""
    selection = select_frames(context, [video_id])
    if not selection.count:
        return None
    sought = sought_in(context, video_id, selection.names[video_id], question)
    told = answer_likeliest(context, question, [sought], heads, STRETCHES, 1)
    answered = told[0][1]
    span = answered.evidence
    return Reply(answered.text, answered.confidence, span.start_seconds, span.stop_seconds)
