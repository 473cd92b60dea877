"""The program generate_responses, run for real."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.base.artifacts import read_provenance
from rlhf.base.provenance import digest
from rlhf.responses.hiding import HideSettings
from rlhf.responses.schema import RESPONSES, draw_seed, read_lengths, read_responses
from rlhf.responses.settings import GenerateSpec
from rlhf.responses.thoughts import visible_text
from small_models import run_program, save_small_policy, write_prompts
from small_tokenizers import small_tokenizer

SPEC = {
    "seed": 11,
    "policy": "base",
    "model": None,
    "rows": {"start": 2, "stop": 10},
    "engine": "transformers",
    "draws": 3,
    "temperature": 0.8,
    "top_p": 0.95,
    "max_tokens": 12,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    path = tmp_path_factory.mktemp("prompts") / "prompts.parquet"
    return path, write_prompts(path, 12)


def test_responses_of_a_part(tmp_path: Path, policy: Path, prompts: tuple[Path, list[dict[str, Any]]]) -> None:
    path, prompt_rows = prompts
    output = tmp_path / "responses" / "part.parquet"
    flags = ("--spec", json.dumps(SPEC), "--prompts", path, "--policy", policy, "--output", output)
    done = run_program("generate_responses", *flags, "--token-budget", 200)
    assert done.returncode == 0, done.stderr
    assert "base answers: 24 of 24 responses" in done.stderr

    rows = RESPONSES.read(output).to_pylist()
    wanted = [(row["prompt_id"], draw) for row in prompt_rows[2:10] for draw in range(3)]
    assert [(row["prompt_id"], row["draw"]) for row in rows] == wanted
    tokenizer = small_tokenizer()
    stops = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|end_header_id|>")}
    for row in rows:
        ids = row["response_token_ids"]
        assert row["seed"] == draw_seed(11, "base", row["prompt_id"], row["draw"])
        assert row["response"] == tokenizer.decode(ids, skip_special_tokens=True)
        assert row["finish_reason"] == ("stop" if ids[-1] in stops else "length")
        assert len(ids) == 12 or row["finish_reason"] == "stop"
    assert len({tuple(row["response_token_ids"]) for row in rows}) > 20

    origin = read_provenance(output)
    assert origin["spec"] == GenerateSpec.model_validate(SPEC).model_dump(mode="json")
    assert origin["inputs"] == {"prompts": digest(path), "policy": digest(policy)}
    assert {"torch", "transformers"} <= origin["versions"].keys()


def test_thoughts_are_hidden_and_token_ids_are_complete(
    tmp_path: Path, policy: Path, prompts: tuple[Path, list[dict[str, Any]]]
) -> None:
    """The marks are letters here, which a random policy writes often."""
    flags = ("--prompts", prompts[0], "--policy", policy, "--token-budget", 200)
    whole, hidden = tmp_path / "whole.parquet", tmp_path / "hidden.parquet"
    run_program("generate_responses", "--spec", json.dumps(SPEC), *flags, "--output", whole)
    spec = {**SPEC, "hide": {"open": "o", "close": "e"}}
    done = run_program("generate_responses", "--spec", json.dumps(spec), *flags, "--output", hidden)
    assert done.returncode == 0, done.stderr

    tokenizer, unfinished = small_tokenizer(), 0
    sampled, shown = RESPONSES.read(whole).to_pylist(), read_responses(hidden).to_pylist()
    for before, after in zip(sampled, shown, strict=True):
        kept = ("prompt_id", "draw", "response_token_ids", "seed")
        assert [before[name] for name in kept] == [after[name] for name in kept]
        text, thinking = visible_text(before["response"], HideSettings(open="o", close="e"))
        assert (after["response"], after["finish_reason"]) == (text, "length" if thinking else before["finish_reason"])
        unfinished += thinking
    assert 0 < unfinished < len(shown)
    assert {row["response"] for row in shown} != {row["response"] for row in sampled}

    counts = {"responses": 24, "unfinished_thoughts": unfinished}
    counts["truncated"] = sum(row["finish_reason"] == "length" for row in shown)
    origin = read_provenance(hidden)
    assert (origin["counts"], origin["spec"]["hide"]) == (counts, spec["hide"])
    assert f'"unfinished_thoughts":{unfinished}' in done.stderr
    assert not {"hide", "counts"} & {*read_provenance(whole), *read_provenance(whole)["spec"]}
    lengths = read_lengths(hidden).to_pylist()
    assert [row["tokens"] for row in lengths] == [row["visible_tokens"] for row in shown]
    assert [row["characters"] for row in lengths] == [len(row["response"]) for row in shown]
    ended = [row for row in shown if row["response_token_ids"][-1] == tokenizer.eos_token_id]
    assert all(
        row["visible_tokens"] == len(tokenizer(row["response"], add_special_tokens=False)["input_ids"]) + 1
        for row in ended
        if row["visible_tokens"] != len(row["response_token_ids"])
    )
    assert [row["tokens"] for row in read_lengths(whole).to_pylist()] == [
        len(row["response_token_ids"]) for row in sampled
    ]


def test_without_a_policy(tmp_path: Path, prompts: tuple[Path, list[dict[str, Any]]]) -> None:
    """Neither the flag (Snakemake gives it without a value) nor the spec names one."""
    output = tmp_path / "responses.parquet"
    flags = ("--spec", json.dumps(SPEC), "--prompts", prompts[0], "--output", output, "--policy")
    done = run_program("generate_responses", *flags)
    assert done.returncode == 1
    assert done.stderr == "error: no model: give its folder with the flag, or `model` in --spec\n"
    assert not output.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_tokens": 500}, ["with responses.max_tokens 500 that makes 5", "limit of 128"]),
        ({"max_model_len": 20}, ["limit of 20", "responses.max_model_len 20"]),
        ({"stop_tokens": ["<nothing>"]}, ["responses.stop_tokens: '<nothing>' is not a token"]),
        ({"hide": {"open": "a", "close": "b<|eot_id|>"}}, ["responses.hide.close: it is 'b<|eot_id|>'; a mark is one"]),
        ({"engine": "vllm"}, ["No module named 'vllm'", "`environments: conda`", "`responses.engine: transformers`"]),
    ],
    ids=["context", "max_model_len", "stop token", "mark", "no vLLM"],
)
def test_settings_that_cannot_work(
    changes: dict[str, Any], said: list[str], tmp_path: Path, policy: Path, prompts: tuple[Path, list[dict[str, Any]]]
) -> None:
    output = tmp_path / "responses.parquet"
    flags = ("--prompts", prompts[0], "--policy", policy, "--output", output)
    done = run_program("generate_responses", "--spec", json.dumps({**SPEC, **changes}), *flags)
    assert done.returncode == 1
    for words in said:
        assert words in done.stderr.splitlines()[-1]
    assert not output.exists()


def test_help_explains_the_spec() -> None:
    done = run_program("generate_responses", "--help")
    assert done.returncode == 0
    for name in GenerateSpec.model_fields:
        assert f"\n  {name}: " in done.stdout
    for flag in ("--prompts", "--policy", "--output", "--token-budget", "--gpus", "--threads"):
        assert flag in done.stdout
