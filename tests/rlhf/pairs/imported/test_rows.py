"""Imported pairs: matched, counted and dropped, against an independent computation."""

import math
import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.base.artifacts import TOKEN_IDS
from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.datasets.conversations import normalise_prompt
from rlhf.pairs.imported.responses import Encoder
from rlhf.pairs.imported.rows import ImportedPairs, pair_table, read_pairs
from rlhf.pairs.imported.settings import ImportPairsSpec
from rlhf.pairs.schema import PAIRS, UNSCORED_PAIRS
from rlhf.prompts.schema import Prompt, prompt_id
from rlhf.tokens.chat import encode_response
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()
NAMES = ("a", "b", "c")
PROMPTS = [Prompt(prompt_id(name), (("user", name),), "{}") for name in NAMES]
TOKENS = pa.chunked_array([[[1], [2], [3]]], TOKEN_IDS)
MAX_TOKENS = 12
SCORES = {"chosen_score": "s", "rejected_score": "t"}


def make_spec(**changes: Any) -> ImportPairsSpec:
    values: dict[str, Any] = {"dataset": "data.jsonl", "dataset_fingerprint": "x", "revision": None, "subset": None}
    values.update(split="train", column="prompt", chosen="chosen", rejected="rejected", min_margin=0.0, model=None)
    values.update(chosen_score=None, rejected_score=None, rows=Rows(start=0, stop=3), max_tokens=MAX_TOKENS)
    return ImportPairsSpec.model_validate({**values, **changes})


def read(rows: list[dict[str, Any]], **changes: Any) -> tuple[ImportedPairs, ImportPairsSpec]:
    from datasets import Dataset

    spec = make_spec(**changes)
    dataset = Dataset.from_list(rows)
    return read_pairs(dataset, PROMPTS, TOKENS, spec, Encoder(TOKENIZER, spec.thoughts(TOKENIZER))), spec


def row(prompt: str | None, chosen: str | None, rejected: str | None, *scores: float | None) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **dict(zip("st", scores, strict=False))}


def test_pairs_in_the_order_of_the_prompts() -> None:
    found, spec = read([row("c", "yes", "no"), row(" a\r\n", "1", "2"), row("d", "x", "y")])
    table = pair_table(found, spec)
    assert table.schema == UNSCORED_PAIRS.schema
    assert [(r["prompt_id"], r["chosen"], r["rejected"]) for r in table.to_pylist()] == [
        (prompt_id("a"), "1", "2"),
        (prompt_id("c"), "yes", "no"),
    ]
    first = table.to_pylist()[0]
    assert first["prompt_token_ids"] == [1]
    assert first["chosen_token_ids"] == encode_response(TOKENIZER, "1")
    assert {first[name] for name in ("chosen_reward", "rejected_reward", "chosen_win_probability")} == {None}
    assert found.counts["dropped"] == {**dict.fromkeys(found.dropped, 0), "no_row": 1}
    assert found.duplicate_rows == 0


def test_scores_are_rewards() -> None:
    found, spec = read([row("a", "1", "2", 0.75, -0.5)], **SCORES)
    (pair,) = pair_table(found, spec).to_pylist()
    assert (pair["chosen_reward"], pair["rejected_reward"]) == (0.75, -0.5)
    assert pair["chosen_win_probability"] == pytest.approx(1 / (1 + math.exp(-1.25)), abs=1e-7)
    assert pair["rejected_win_probability"] == pytest.approx(1 / (1 + math.exp(1.25)), abs=1e-7)
    assert pair_table(found, spec).schema == PAIRS.schema


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("a", None, "2", 1.0, 0.0), "missing"),
        (row("a", "1", " \n", 1.0, 0.0), "missing"),
        (row("a", "1", "2", None, 0.0), "no_score"),
        (row("a", "1", " 1\n", 1.0, 0.0), "identical"),
        (row("a", "1", "word " * MAX_TOKENS, 1.0, 0.0), "too_long"),
        (row("a", "1", "2", 1.0, 1.0), "tie"),
        (row("a", "1", "2", 0.0, 1.0), "reversed"),
        (row("a", "1", "2", 1.0, 0.9), "below_margin"),
    ],
)
def test_why_a_prompt_has_no_pair(bad: dict[str, Any], reason: str) -> None:
    good = [row("b", "1", "2", 1.0, 0.0), row("c", "1", "2", 1.0, 0.0)]
    found, _ = read([bad, *good], **SCORES, min_margin=0.5)
    assert found.dropped == {**dict.fromkeys(found.dropped, 0), reason: 1}
    assert [pair["prompt_id"] for pair in found.rows] == [prompt_id("b"), prompt_id("c")]
    found, _ = read([bad, *good, row("a", "yes", "no", 1.0, 0.0)], **SCORES, min_margin=0.5)
    assert (len(found.rows), found.duplicate_rows, sum(found.dropped.values())) == (3, 1, 0)
    assert found.rows[0]["chosen"] == "yes"


def test_conversations_of_other_prompts_are_counted() -> None:
    def chat(prompt: str, answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]

    rows = [
        {"prompt": "a", "chosen": chat("a", "1"), "rejected": chat("a", "2")},
        {"prompt": "b", "chosen": chat("b", "1"), "rejected": chat("a", "2")},
        {"prompt": "c", "chosen": chat("c", "1")[1:], "rejected": chat("c", "2")[1:]},
    ]
    found, _ = read(rows)
    assert found.dropped["other_prompt"] == 1 and [pair["chosen"] for pair in found.rows] == ["1", "1"]
    implicit, _ = read([{"chosen": each["chosen"], "rejected": each["rejected"]} for each in rows[:2]], column="chosen")
    assert [pair["prompt_id"] for pair in implicit.rows] == [prompt_id("a")]
    assert (implicit.dropped["other_prompt"], implicit.dropped["no_row"]) == (1, 1)


def test_thoughts_are_trained_on_and_not_shown() -> None:
    hide = {"open": "[t]", "close": "[/t]"}
    rows = [
        row("a", "[t]hm[/t] yes", "[t]oh[/t] no"),
        row("b", "[t]hm[/t] yes", "[t]on and on"),
        row("c", "[t]hm[/t] yes", "[t]oh[/t] yes"),
    ]
    found, _ = read(rows, hide=hide, max_tokens=99)
    first, last = found.rows
    assert (first["chosen"], first["rejected"], last["chosen"], last["rejected"]) == ("yes", "no", "yes", "yes")
    assert first["chosen_token_ids"].tolist() == encode_response(TOKENIZER, "[t]hm[/t] yes")
    assert found.dropped["truncated"] == 1
    own = {"prompt_id": prompt_id("a"), "chosen": "yes", "rejected": "no", "chosen_draw": 2, "rejected_draw": 0}
    ids = {f"{side}_token_ids": first[f"{side}_token_ids"].tolist() for side in ("chosen", "rejected")}
    again, _ = read([{**own, **ids}], hide=hide, max_tokens=99)
    assert {name: again.rows[0][name].tolist() for name in ids} == ids and again.encoded_again == 0


def test_values_that_cannot_be_used_are_named() -> None:
    with pytest.raises(
        UserError, match=r"data\.jsonl: 2 values cannot be used:\n  row 1, column 's': inf is not a fin"
    ):
        read([row("a", "1", "2", 1.0, 0.0), row("b", "1", "2", math.inf, 0.0), row("c", "1", "2", 1.0, 1e39)], **SCORES)
    with pytest.raises(UserError, match=r"1 values cannot be used:\n  row 0, column 'chosen': 3 is not text or a list"):
        read([{"prompt": "a", "chosen": 3, "rejected": "x"}])
    with pytest.raises(UserError, match=r"pairs\.imported\.column: data\.jsonl: there is no column 'prompt'"):
        read([{"text": "a", "chosen": "3", "rejected": "x"}])
    with pytest.raises(UserError, match=r"pairs\.imported\.chosen_score: data\.jsonl: there is no column 's', 't'"):
        read([row("a", "1", "2")], **SCORES)


cells = st.sampled_from([None, " ", "yes", "no", "  yes ", "word " * MAX_TOKENS])
scores = st.sampled_from([None, -1.0, 0.0, 0.25, 2.0])
rows_of = st.lists(
    st.tuples(st.sampled_from(["a", " a ", "b", "c", "d", None, ""]), cells, cells, scores, scores), max_size=12
)


def expected_reason(values: tuple[Any, ...], *, scored: bool, margin: float) -> str | None:
    """As the documentation has it, one check after the other."""
    _, chosen, rejected, s, t = values
    if not (chosen or "").strip() or not (rejected or "").strip():
        return "missing"
    if scored and (s is None or t is None):
        return "no_score"
    if chosen.strip() == rejected.strip():
        return "identical"
    if any(len(encode_response(TOKENIZER, text.strip())) > MAX_TOKENS for text in (chosen, rejected)):
        return "too_long"
    if scored and s <= t:
        return "tie" if s == t else "reversed"
    return "below_margin" if scored and s - t < margin else None


@settings(deadline=None, max_examples=60)
@given(rows_of, st.booleans(), st.integers(0, 2**32))
def test_every_prompt_has_a_pair_or_a_reason(rows: list[tuple[Any, ...]], scored: bool, seed: int) -> None:
    rows = [*rows, ("z", "yes", "no", 1.0, 0.0)]  # so that the columns have a type
    random.Random(seed).shuffle(rows)
    found, spec = read([row(*values) for values in rows], **(SCORES if scored else {}), min_margin=0.5)
    table = pair_table(found, spec).to_pylist()
    taken = {pair["prompt_id"]: pair for pair in table}
    assert found.counts["prompts"] == 3 == len(table) + sum(found.dropped.values())
    reasons: list[str] = []
    for name in NAMES:
        own = [values for values in rows if values[0] is not None and normalise_prompt(values[0]) == name]
        why = [expected_reason(values, scored=scored, margin=0.5) for values in own]
        if None in why:
            values = own[why.index(None)]
            pair = taken.pop(prompt_id(name))
            assert (pair["chosen"], pair["rejected"]) == (values[1].strip(), values[2].strip())
            assert pair["chosen_reward"] == (values[3] if scored else None)
        else:
            reasons.append(why[0] if why and why[0] is not None else "no_row")
    assert not taken
    assert {reason: count for reason, count in found.dropped.items() if count} == {
        reason: reasons.count(reason) for reason in reasons
    }
    matched = sum(values[0] is not None and normalise_prompt(values[0]) in NAMES for values in rows)
    assert found.duplicate_rows == matched - (3 - found.dropped["no_row"])
