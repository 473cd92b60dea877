"""Wrong configurations of imported pairs, and of what another run has made."""

from typing import Any

from wrong_changes import Case

SCORES = {"chosen_score": "s", "rejected_score": "t"}


def pairs(**settings: Any) -> dict[str, Any]:
    return {"pairs.imported": settings}


IMPORTS: list[Case] = [
    (pairs(), ["pairs.imported.dataset: this key is missing"]),
    (pairs(dataset=""), ["pairs.imported.dataset: ", "''", "at least 1 character"]),
    (pairs(dataset="pairs.jsonl", chosen_score="s"), ["pairs.imported: ", "`chosen_score` goes with `rejected_score`"]),
    (
        pairs(dataset="pairs.jsonl"),
        ["variants.rebel.loss: rebel learns from rewards", "`pairs.imported.chosen_score`", "another loss"],
    ),
    (
        {**pairs(dataset="pairs.jsonl"), "variants.rebel.loss": {"name": "sppo"}},
        ["variants.rebel.loss: sppo learns from rewards"],
    ),
    (pairs(dataset="{results}/x", **SCORES), ["pairs.imported.dataset: no rule makes '{results}/x'", "a hub dataset"]),
    (pairs(dataset="none.jsonl", **SCORES), ["pairs.imported.dataset: 'none.jsonl'", "no such file"]),
    (pairs(dataset="empty_folder", **SCORES), ["pairs.imported.dataset: 'empty_folder'", "without files", ".jsonl"]),
    (
        pairs(dataset="pairs", split="dev", **SCORES),
        ["pairs.imported.dataset: 'pairs': the folder has no split 'dev'; it has 'train'"],
    ),
    (
        pairs(dataset="wide.jsonl", **SCORES),
        ["pairs.imported.chosen: wide.jsonl", "'chosen'", "'response_0'", "the chosen responses"],
    ),
    (
        pairs(dataset="pairs.jsonl", column="question", **SCORES),
        ["pairs.imported.column: pairs.jsonl: there is no column 'question'", "'prompt'"],
    ),
    (
        pairs(dataset="pairs.jsonl", **SCORES),
        ["pairs.imported.chosen_score: pairs.jsonl: there is no column 's', 't'", "or both to null"],
    ),
    (
        pairs(dataset="pairs.jsonl", chosen="n", **{**SCORES, "chosen_score": "n", "rejected_score": "n"}),
        ["pairs.imported.chosen: the column 'n' of pairs.jsonl holds integer, not text or lists of turns"],
    ),
    (
        {**pairs(dataset="a/b", **SCORES), "responses.imported": {"dataset": "c/d"}},
        ["responses.imported: ", "`pairs.imported`", "leave out one of the two, or add `base` to `pairs.pool`"],
    ),
    (
        {"responses.imported": {"dataset": "responses", "rewards": True}},
        ["responses.imported.rewards: there are no rewards of 'responses' beside it", "set `false`"],
    ),
]
