"""Moments and answers as responses, with where their pictures and clips are."""

from dataclasses import asdict
from urllib.parse import urlencode

from engine.results import Answer, Claim, Moment, Outlook
from schemas.ask import OutlookOut
from schemas.query import AnswerOut, ClaimOut, CostOut, MomentOut

_AROUND_SECONDS = 1.0  # added on each side of a clip, so that a short moment can be seen


def moment_out(moment: Moment) -> MomentOut:
    """Return a moment with where it can be seen."""
    base = f"/videos/{moment.video_id}"
    shown = {
        "start": f"{max(moment.start_seconds - _AROUND_SECONDS, 0):.3f}",
        "stop": f"{moment.stop_seconds + _AROUND_SECONDS:.3f}",
    }
    return MomentOut(
        **{**asdict(moment), "signals": list(moment.signals), "spaces": list(moment.spaces)},
        thumbnail_url=f"{base}/frames/{moment.peak_seconds:.3f}.jpg",
        clip_url=f"{base}/clip.mp4?{urlencode(shown)}",
    )


def claim_out(claim: Claim) -> ClaimOut:
    """Return a claim with where its moments can be seen."""
    return ClaimOut(
        text=claim.text,
        verdict=claim.verdict,
        moments=[moment_out(moment) for moment in claim.moments],
        score=claim.score,
        said=claim.said,
    )


def answer_out(answered: Answer, *, grounded: bool = True) -> AnswerOut:
    """Return an answer, its evidence only where that is asked for."""
    return AnswerOut(
        text=answered.text,
        confidence=answered.confidence,
        choice=answered.choice,
        scores=answered.scores,
        how=answered.how,
        caution=answered.caution,
        evidence=[moment_out(moment) for moment in answered.evidence] if grounded else [],
        claims=[claim_out(claim) for claim in answered.claims] if grounded else [],
        cost=CostOut(**asdict(answered.cost)),
        session=answered.session,
        data=answered.data,
    )


def outlook_out(outlook: Outlook) -> OutlookOut:
    """Return where is looked."""
    moments = [moment_out(moment) for moment in outlook.moments]
    return OutlookOut(moments=moments, looker=outlook.looker, cost=CostOut(**asdict(outlook.cost)))
