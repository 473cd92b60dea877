"""The program score_responses, run for real with a reward model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf.base.artifacts import read_provenance
from rlhf.base.provenance import digest
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.rewards.models.packed_scoring import PackScores
from rlhf.rewards.schema import REWARDS
from rlhf.rewards.settings import ScoreSpec
from rlhf.tokens.chat import encode_messages, encode_prompt
from rlhf.tokens.packing import Pack, PromptGroup
from scoring_inputs import Part, spec, write_part
from small_models import (
    CPU,
    run_program,
    save_small_classifier,
    save_small_policy,
    save_small_reward_model,
    small_reward_model,
)
from small_tokenizers import small_tokenizer

MAX_TOKENS = 70


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return write_part(tmp_path)


ARMO = {"kind": "armo", "max_tokens": MAX_TOKENS, "precision": "float32"}


def test_a_reward_model(tmp_path: Path, part: Part) -> None:
    prompts, responses, texts = part
    folder = save_small_reward_model(tmp_path / "reward_model")
    output = tmp_path / "rewards" / "part.parquet"
    flags = ("--prompts", prompts, "--responses", responses, "--reward-model", folder, "--output", output)
    done = run_program("score_responses", "--spec", spec(ARMO), *flags, "--token-budget", 200)
    assert done.returncode == 0, done.stderr
    assert "scoring: 20 of 20 responses" in done.stderr

    rows = REWARDS.read(output).to_pylist()
    assert [(row["prompt_id"], row["draw"]) for row in rows] == [
        (row["prompt_id"], row["draw"]) for row in RESPONSES.read(responses).to_pylist()
    ]
    tokenizer = small_tokenizer()
    reward = ArmoScorer(small_reward_model(len(tokenizer)), tokenizer)
    for row, (prompt, response) in zip(rows, texts, strict=True):
        ids = encode_messages(tokenizer, [("user", prompt), ("assistant", response)])
        if len(ids) > MAX_TOKENS:
            assert (row["reward"], row["invalid"], row["objectives"]) == (None, "too_long", None)
            continue
        expected = score_alone(reward, ids, len(encode_prompt(tokenizer, prompt)))
        assert row["reward"] == pytest.approx(float(expected.values), abs=1e-5)
        assert row["objectives"] == pytest.approx(expected.objectives[0].tolist(), abs=1e-5)
        assert row["invalid"] is None
    too_long = sum(row["reward"] is None for row in rows)
    assert 0 < too_long < 10
    counts = {"responses": 20, "scored": 20 - too_long, "invalid": {"too_long": too_long}}
    assert read_provenance(output)["counts"] == counts
    assert f"WARNING {output}: " in done.stderr

    origin = read_provenance(output)
    assert origin["objectives"] == ["correct", "polite", "brief"]
    assert origin["inputs"] == {
        "prompts": digest(prompts),
        "responses": digest(responses),
        "reward_model": digest(folder),
    }


def score_alone(reward: Callable[[Pack], PackScores], ids: list[int], prompt_tokens: int) -> Any:
    with torch.inference_mode():
        return reward(Pack([PromptGroup(ids[:prompt_tokens], [ids[prompt_tokens:]])], CPU))


@pytest.mark.parametrize("form", ["llama3", "chatml"])
def test_a_sequence_classifier(form: str, tmp_path: Path, part: Part) -> None:
    """The raw score is what transformers' own class gives at the last token of the rendered conversation."""
    prompts, responses, texts = part
    tokenizer = small_tokenizer(form)
    model = save_small_classifier(tmp_path / "classifier", tokenizer)
    scorer = {"kind": "sequence_classification", "model": "x", "max_tokens": MAX_TOKENS, "precision": "float32"}
    output = tmp_path / "rewards.parquet"
    flags = ("--prompts", prompts, "--responses", responses, "--reward-model", tmp_path / "classifier")
    done = run_program("score_responses", "--spec", spec(scorer), *flags, "--output", output, "--token-budget", 150)
    assert done.returncode == 0, done.stderr
    rows = REWARDS.read(output).to_pylist()
    for row, (prompt, response) in zip(rows, texts, strict=True):
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
        if len(ids) > MAX_TOKENS:
            assert (row["reward"], row["invalid"]) == (None, "too_long")
        else:
            with torch.inference_mode():
                expected = float(model(torch.tensor([ids])).logits[0, 0])
            assert row["reward"] == pytest.approx(expected, abs=1e-5)
    assert len({row["reward"] for row in rows}) > 10
    assert read_provenance(output)["objectives"] == []


@pytest.mark.parametrize(("labels", "said"), [(2, "with 2 outputs"), (1, "without weights for `score`")])
def test_another_kind_of_model_is_an_error(labels: int, said: str, tmp_path: Path, part: Part) -> None:
    prompts, responses, _ = part
    if labels == 2:
        save_small_classifier(tmp_path / "model", small_tokenizer(), labels)
    else:
        save_small_policy(tmp_path / "model")
    scorer = {"kind": "sequence_classification", "model": "x", "precision": "float32"}
    flags = ("--prompts", prompts, "--responses", responses, "--reward-model", tmp_path / "model")
    done = run_program("score_responses", "--spec", spec(scorer), *flags, "--output", tmp_path / "rewards.parquet")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'model'}: not a reward model")
    assert said in done.stderr


def test_a_tokenizer_that_knows_more_than_its_model(tmp_path: Path, part: Part) -> None:
    prompts, responses, _ = part
    folder = save_small_reward_model(tmp_path / "reward_model")
    tokenizer = small_tokenizer()
    tokenizer.add_tokens(["<|reserved|>"])
    tokenizer.save_pretrained(folder)
    flags = ("--prompts", prompts, "--responses", responses, "--reward-model", folder)
    done = run_program("score_responses", "--spec", spec(ARMO), *flags, "--output", tmp_path / "rewards.parquet")
    assert done.returncode == 1
    assert "'<|reserved|>'" in done.stderr.splitlines()[-1]
    assert "do not belong together" in done.stderr


def test_help_explains_the_spec() -> None:
    done = run_program("score_responses", "--help")
    assert done.returncode == 0
    for name in ScoreSpec.model_fields:
        assert f"\n  {name}: " in done.stdout
