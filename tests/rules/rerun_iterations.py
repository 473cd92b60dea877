"""Edits of what iterations take from earlier ones: in the micro experiment only rebel has a second iteration."""

from rerun_rows import LOGPROBS, PAIRS, REPORT, SAMPLED, TRAINING, Row, one

SECOND = {"rebel-2": TRAINING | SAMPLED}
ACCUMULATED = {"pairs_of": "accumulated"}
STARTS = "policies{} after {} first iteration from training on, report"
REFERENCES = "log-probabilities under the reference, policies{} after {} first iteration from training on, report"
PLACES = {"training": ("", "the"), "variants.<name>": (" of that variant", "its")}
"""Where the keys are, and the words for whose policies those are."""


def rows_of(place: str, whose: tuple[str, str]) -> list[Row]:
    where = place.replace("<name>", "rebel")
    shares = {f"{where}.pairs_of": "accumulated", f"{where}.earlier_share": 0.5}
    return [
        Row(STARTS.format(*whose), {f"{place}.start": {f"{where}.start": "base"}}, SECOND, REPORT),
        # Pairs of rebel-1 under base.
        Row(
            REFERENCES.format(*whose),
            {f"{place}.reference": {f"{where}.reference": "base"}},
            {"rebel-1": LOGPROBS, **SECOND},
            REPORT,
        ),
        # Pairs of base under rebel-1.
        Row(
            REFERENCES.format(*whose),
            {f"{place}.pairs_of": {f"{where}.pairs_of": "accumulated"}},
            {"base": LOGPROBS, **SECOND},
            REPORT,
        ),
        # The share alone would compute no log-probabilities; it goes with accumulated pairs, which do.
        Row(STARTS.format(*whose), {f"{place}.earlier_share": shares}, {"base": LOGPROBS, **SECOND}, REPORT),
    ]


AFTER_THE_FIRST = [
    *(row for place, whose in PLACES.items() for row in rows_of(place, whose)),
    Row(
        "pairs after the first iteration and all that follows",
        one("pairs.pool", ["parent", "base"]),
        {"rebel-1": PAIRS, **SECOND},
        REPORT,
    ),
]
