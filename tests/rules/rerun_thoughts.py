"""Edits of the keys that hide thoughts, which the micro experiment has none of, and the jobs that they rerun."""

from rerun_rows import PARENT, REPORT, TRAINED, Row, within

MARKS = {"open": "<think>", "close": "</think>"}
THOUGHTS = [
    Row(
        "responses and all that follows, benchmarks",
        within("responses.hide", MARKS, open="<reason>", close="</reason>"),
        {"base": PARENT} | TRAINED,
        REPORT,
    )
]
