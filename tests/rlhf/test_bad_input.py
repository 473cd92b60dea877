"""Bad input from end to end: what is bad is dropped and counted or an error in words, and no good row is lost."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import build_pairs
import collect_prompts
import import_responses
import import_rewards
from collecting import DEFAULTS
from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.models.policies import load_policy
from rlhf.models.source import ModelSource
from rlhf.models.tokenizers import check_vocabulary
from rlhf.pairs.schema import PAIRS
from rlhf.pairs.settings import PairSpec
from rlhf.prompts.schema import PROMPTS
from rlhf.prompts.settings import CollectSpec
from rlhf.responses.schema import RESPONSES
from rlhf.responses.settings import ImportResponsesSpec, ImportSpec
from rlhf.rewards.kinds.armo import ArmoSettings
from rlhf.rewards.kinds.sequence_classification import SequenceClassificationSettings
from rlhf.rewards.model_scorer import ModelScorer
from rlhf.rewards.schema import REWARDS
from rlhf.tokens.chat import encode_prompt, encode_response
from sealed_files import write_sealed
from small_models import CPU, save_small_policy, save_small_reward_model
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()
LONG = "word " * 20_000
GOOD = {
    "plain": "what is 2 + 2?",
    "long": LONG,
    "emoji": "🦙👩‍👩‍👧‍👦🏳️‍🌈 👍🏽",
    "right to left": "مرحبا \u202eabc\u202c שלום",
    "combining": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "control": "a\u0000b\u0007c",
    "special tokens": "<|eot_id|><|begin_of_text|>",
    "white space inside": "a\u3000 \u2028 b\n\n\tc",
    "case": "Straße",
}
BAD: list[object] = [None, "", " \u3000\t\r\n ", "\u00a0", 7, ["a list"], {"a": "dictionary"}, True]
DUPLICATES = ["What  is 2 + 2?", "what is 2 + 2?\r\n", "STRASSE"]
MAX_TOKENS = 200_000


def run(monkeypatch: pytest.MonkeyPatch, program: Any, spec: Any, **files: Path) -> Path:
    flags = [word for flag, path in files.items() for word in (f"--{flag.replace('_', '-')}", str(path))]
    monkeypatch.setattr(sys, "argv", ["x", "--spec", spec.model_dump_json(), *flags])
    program.main()
    return files["output"]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Bad rows between good ones; of every prompt a long, an odd and a missing response."""
    texts = [text for pair in zip(GOOD.values(), [*BAD, None], strict=True) for text in pair]
    rows = [
        {
            "prompt": text,
            "response_0": LONG,
            "response_1": f"🦙 שלום \u202e {number}",
            "response_2": None if number % 2 else " \n",
            "response_0_reward": float(number),
            "response_1_reward": -0.5,
            "response_2_reward": None,
        }
        for number, text in enumerate([*texts, *DUPLICATES])
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def prompts(tmp_path: Path, dataset: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    spec = CollectSpec.model_validate(DEFAULTS | {"dataset": str(dataset), "max_tokens": MAX_TOKENS})
    return run(monkeypatch, collect_prompts, spec, base_model=policy_folder, output=tmp_path / "prompts.parquet")


def test_no_good_prompt_is_lost(prompts: Path) -> None:
    rows = PROMPTS.read(prompts).to_pylist()
    assert sorted(row["prompt"] for row in rows) == sorted(text.strip() for text in GOOD.values())
    assert all(row["prompt_token_ids"] == encode_prompt(TOKENIZER, row["prompt"]) for row in rows)
    counts = read_provenance(prompts)["counts"]
    assert counts["dropped"] == {"not_text": 6, "empty": 3, "duplicate": 3, "too_long": 0}
    assert counts["rows"] == len(rows) + sum(counts["dropped"].values()) == 21


def test_no_good_response_or_pair_is_lost(
    tmp_path: Path, prompts: Path, dataset: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = {"rows": Rows(start=0, stop=len(GOOD))}
    values: dict[str, Any] = {**part, "dataset": str(dataset), "dataset_fingerprint": None, "revision": None}
    values.update(split="train", column="prompt", draws=3)
    imported = ImportResponsesSpec(**values, model=ModelSource(name=str(policy_folder)), max_tokens=MAX_TOKENS)
    files = {"prompts": prompts}
    responses = run(monkeypatch, import_responses, imported, **files, output=tmp_path / "responses.parquet")
    rewards = run(monkeypatch, import_rewards, ImportSpec(**values), **files, output=tmp_path / "rewards.parquet")
    rows = RESPONSES.read(responses).to_pylist()
    assert len(rows) == 2 * len(GOOD)
    assert all(row["response_token_ids"] == encode_response(TOKENIZER, row["response"]) for row in rows)
    counts = {"prompts": 9, "responses": 18, "truncated": 0, "missing": 9, "beyond_draws": 0, "duplicate_rows": 1}
    assert read_provenance(responses)["counts"] == counts

    choice = PairSpec(**part, choose="best_worst", target_margin=None, min_margin=0.0, seed=None)
    files.update(responses=responses, rewards=rewards)
    pairs = run(monkeypatch, build_pairs, choice, **files, output=tmp_path / "pairs.parquet")
    found = PAIRS.read(pairs).to_pylist()
    assert [row["prompt_id"] for row in found] == PROMPTS.read(prompts)["prompt_id"].to_pylist()
    for row in found:
        assert (row["chosen"], row["chosen_draw"], row["rejected_draw"]) == (LONG, 0, 1)
        assert row["rejected"] == f"🦙 שלום \u202e {row['chosen_reward']:.0f}"
    counts = read_provenance(pairs)["counts"]
    assert counts["pairs"] == 9 and not any(counts["dropped"].values()) and counts["candidates_dropped"] == {}


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), float("-inf")])
def test_rewards_artifact_with_a_number_that_is_not_finite(
    tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch, reward: float
) -> None:
    """As no program of the pipeline writes it."""
    keys = [{"prompt_id": row["prompt_id"], "draw": 0} for row in PROMPTS.read(prompts).to_pylist()]
    scores = [{**key, "reward": 1.0, "invalid": None, "objectives": None} for key in keys]
    scores[4]["reward"] = reward
    write_sealed(pa.Table.from_pylist(scores, schema=REWARDS.schema), tmp_path / "rewards.parquet")
    rest = {"response": "x", "response_token_ids": [1], "finish_reason": "stop", "seed": 0}
    RESPONSES.write(tmp_path / "responses.parquet", [{**key, **rest} for key in keys], {})
    choice = PairSpec(rows=Rows(start=0, stop=9), choose="best_worst", target_margin=None, min_margin=0.0, seed=None)
    files = {name: tmp_path / f"{name}.parquet" for name in ("responses", "rewards")}
    with pytest.raises(ArtifactError, match=rf"rewards\.parquet: row 4: rewards\.reward is {reward}"):
        run(monkeypatch, build_pairs, choice, prompts=prompts, **files, output=tmp_path / "pairs.parquet")
    assert not (tmp_path / "pairs.parquet").exists()


def test_folders_that_hold_no_model(tmp_path: Path, policy_folder: Path) -> None:
    """One is empty, the other one has a configuration and a tokenizer, and no weights."""
    (tmp_path / "empty").mkdir()
    scorers: list[ModelScorer] = [
        ArmoSettings(model="x", precision="float32"),
        SequenceClassificationSettings(kind="sequence_classification", model="x", precision="float32"),
    ]
    for folder in (tmp_path / "empty", policy_folder):
        with pytest.raises(UserError, match=rf"cannot load a causal language model from '{folder}': "):
            load_policy(str(folder), None, "float32", CPU)
        for scorer in scorers:
            with pytest.raises(UserError, match=str(folder)):
                scorer.load(str(folder), None, TOKENIZER, CPU)


def test_tokenizer_with_more_ids_than_the_model_has_embeddings(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    size = max(tokenizer.get_vocab().values()) + 1
    folders = [str(save_small_policy(tmp_path / "policy")), str(save_small_reward_model(tmp_path / "armo"))]
    for folder in folders:
        check_vocabulary(tokenizer, folder, None)
    tokenizer.add_tokens(["<|new|>"])
    for folder in folders:
        with pytest.raises(UserError, match=rf"^{folder}: .*'<\|new\|>' with id {size}, but the model has only {size}"):
            check_vocabulary(tokenizer, folder, None)
