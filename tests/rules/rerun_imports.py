"""Keys of imported responses and pairs, which the micro experiment has none of, in the rerun table."""

from rerun_rows import IMPORTED, LOGPROBS, PAIRS, REPORT, REWARDS, TRAINED, Row, within

READY_MADE = {"dataset": "owner/pairs", "chosen_score": "score_chosen", "rejected_score": "score_rejected"}
IMPORTS = [
    Row(
        "train responses of base and all that follows",
        within("responses.imported", {}, **IMPORTED)
        | within("responses.imported", IMPORTED, column="text", subset="en", split="test"),
        {"base": frozenset({"import_responses"}) | REWARDS | PAIRS} | TRAINED,
        REPORT,
    ),
    Row(
        "train rewards of base and all that follows",
        within("responses.imported", IMPORTED, rewards=True),
        {"base": frozenset({"import_responses", "import_rewards"}) | PAIRS} | TRAINED,
        REPORT,
    ),
    Row(
        "pairs of base and all that follows",
        within("pairs.imported", READY_MADE, dataset="owner/pairs")
        | within("pairs.imported", READY_MADE, revision="main", subset="en", split="train+test", column="question")
        | within("pairs.imported", READY_MADE, chosen="good", rejected="bad", chosen_score="s", rejected_score="s"),
        {"base": frozenset({"import_pairs"}) | LOGPROBS} | TRAINED,
        REPORT,
    ),
]
