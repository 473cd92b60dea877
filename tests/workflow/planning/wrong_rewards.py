"""Rewards that check against kept columns: wrong keys and values, and columns that the prompts do not keep."""

from wrong_changes import Case, scorer, two_scorers

KEPT = {"prompts.keep": ["label", "source"]}
CHECKED: list[Case] = [
    (scorer(kind="math"), ["rewards.answer: this key is missing"]),
    (scorer(kind="math", answer=""), ["rewards.answer: ", "''", "at least 1 character"]),
    (scorer(kind="math", answer=["a"]), ["rewards.answer: must be text", "['a']"]),
    (scorer(kind="math", answer="answer", model="a/b"), ["rewards.model: there is no such key", "answer"]),
    (scorer(kind="math", answer="answer"), ["rewards.answer: it is 'answer'", "no column", "add it to `prompts.keep`"]),
    (
        {**scorer(kind="math", answer="answer"), **KEPT},
        ["rewards.answer: it is 'answer'", "prompts keep 'label', 'source'", "a column that is kept"],
    ),
    (
        two_scorers(scorer={"kind": "math", "answer": "answer"}),
        ["rewards.scorers.a.scorer.answer: it is 'answer'", "add it to `prompts.keep`"],
    ),
    (
        {"evaluation.judge": {"kind": "exact_match", "answer": "answer"}},
        ["evaluation.judge.answer: it is 'answer'", "add it to `prompts.keep`"],
    ),
    (
        {**scorer(kind="exact_match", answer="label", pattern="("), **KEPT},
        ["rewards.pattern: is no regular expression", "'('", "unterminated"],
    ),
    (scorer(kind="exact_match", answer="label", ignore_case="no"), ["rewards.ignore_case: must be true or false"]),
    (scorer(kind="ifeval"), ["rewards.instructions: it is 'instruction_id_list'", "add it to `prompts.keep`"]),
    (
        {**scorer(kind="ifeval"), "prompts.keep": ["instruction_id_list"]},
        ["rewards.arguments: it is 'kwargs'", "prompts keep 'instruction_id_list'"],
    ),
    (
        scorer(kind="sequence_classification", model="no_template"),
        ["rewards.model: 'no_template'", "no chat template", "CONTRIBUTING.md under 'A reward kind'"],
    ),
    (scorer(kind="ifeval", reading="lax"), ["rewards.reading: ", "'lax'", "'strict' or 'loose'"]),
    (scorer(kind="ifeval", credit="some"), ["rewards.credit: ", "'some'", "'share' or 'all'"]),
]
