"""Small benchmarks with made-up questions, in the form of the published data sets. Question n says "Question n"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

Row = Mapping[str, Any]
QUESTIONS = 6
SUBJECTS = ("anatomy", "astronomy")
CATEGORIES = ("writing", "math", "humanities")
LETTERS = "ABCD"
REFERENCE = "A good answer of the reference."
"""Has one word that counts."""


def save_questions(folder: Path) -> dict[str, Path]:
    """Write all benchmarks; name -> folder."""
    return {
        "arena_hard": _save(folder / "arena_hard", "default", "test", map(_arena_hard, range(QUESTIONS))),
        "mt_bench": _save(folder / "mt_bench", "default", "train", map(_mt_bench, range(QUESTIONS))),
        "mmlu": _save(folder / "mmlu", "all", "test", map(_mmlu, range(QUESTIONS))),
        "gsm8k": _save(folder / "gsm8k", "main", "test", map(_gsm8k, range(QUESTIONS))),
        "ifeval": _ifeval(folder / "ifeval"),
        "arc": _save(folder / "arc", "ARC-Easy", "test", map(_arc, range(QUESTIONS))),
        "alpaca_eval": _alpaca_eval(folder / "alpaca_eval"),
    }


def letter(n: int) -> str:
    """The right choice of question n of `mmlu` and `arc`."""
    return LETTERS[n % 4]


def total(n: int) -> int:
    """The right answer to question n of `gsm8k`."""
    return n + 12


def _save(folder: Path, config: str, split: str, rows: Iterable[Row]) -> Path:
    folder.mkdir(parents=True)
    configs = [{"config_name": config, "data_files": [{"split": split, "path": f"{split}.jsonl"}]}]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _arena_hard(n: int) -> Row:
    return {"question": f"Question {n}: say something.", "prediction": REFERENCE, "capability": "talk"}


def _mt_bench(n: int) -> Row:
    category = CATEGORIES[n % 3]
    turns = [f"Question {n}: say something.", f"Question {n}: say it again."]
    return {
        "prompt_id": 1000 + n,
        "category": category,
        "prompt": turns,
        "reference": ["Something.", "Something again."] if category == "math" else [],
    }


def _mmlu(n: int) -> Row:
    return {
        "question": f"Question {n}: which letter?",
        "subject": SUBJECTS[n % 2],
        "choices": ["one", "two", "three", "four"],
        "answer": LETTERS.index(letter(n)),
    }


def _gsm8k(n: int) -> Row:
    return {"question": f"Question {n}: how much is {n} and 12?", "answer": f"{n} and 12 make\n#### {total(n)}"}


def _arc(n: int) -> Row:
    choices = {"text": ["one", "two", "three", "four"], "label": list(LETTERS)}
    return {"id": f"q{n}", "question": f"Question {n}: which letter?", "choices": choices, "answerKey": letter(n)}


def _ifeval(folder: Path) -> Path:
    """The last question counts sentences, for which nltk's data are needed."""
    rules: list[Row] = [{"id": "punctuation:no_comma", "kwargs": {}}] * (QUESTIONS - 1)
    rules += [{"id": "length_constraints:number_sentences", "kwargs": {"relation": "at least", "num_sentences": 1}}]
    names = {name for rule in rules for name in rule["kwargs"]}
    return _save(
        folder,
        "default",
        "train",
        (
            {
                "key": n,
                "prompt": f"Question {n}: write as you are told.",
                "instruction_id_list": [rule["id"]],
                "kwargs": [{name: rule["kwargs"].get(name) for name in sorted(names)}],
            }
            for n, rule in enumerate(rules)
        ),
    )


def save_sentence_rules(folder: Path) -> None:
    """An empty `punkt_tab` of nltk: sentences end with a full stop."""
    english = folder / "tokenizers/punkt_tab/english"
    english.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (english / name).write_text("")


def _alpaca_eval(folder: Path) -> Path:
    folder.mkdir(parents=True)
    rows = [
        {
            "dataset": ("koala", "vicuna")[n % 2],
            "instruction": f"Question {n}: say something.",
            "output": REFERENCE,
            "generator": "gpt4_1106_preview",
        }
        for n in range(QUESTIONS)
    ]
    (folder / "alpaca_eval_gpt4_baseline.json").write_text(json.dumps(rows))
    return folder
