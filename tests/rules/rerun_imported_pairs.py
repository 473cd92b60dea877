"""Keys of imported pairs, which the micro experiment has none of, in the rerun table."""

from rerun_rows import LOGPROBS, REPORT, TRAINED, Row, within

PAIRS = {"dataset": "owner/pairs", "chosen_score": "score_chosen", "rejected_score": "score_rejected"}
IMPORTED_PAIRS = [
    Row(
        "pairs of base and all that follows",
        within("pairs.imported", PAIRS, dataset="owner/pairs")
        | within("pairs.imported", PAIRS, revision="main", subset="en", split="train+test", column="question")
        | within("pairs.imported", PAIRS, chosen="good", rejected="bad", chosen_score="s", rejected_score="s"),
        {"base": frozenset({"import_pairs"}) | LOGPROBS} | TRAINED,
        REPORT,
    ),
]
