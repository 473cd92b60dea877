"""A reasoning model through the whole pipeline: nobody but training sees its thoughts."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from experiments import patch
from project import Project, copy_project
from rlhf.base.artifacts import Artifact, read_provenance
from rlhf.evaluation.schema import COMPARISONS, EVALUATION
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIRS
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES, VISIBLE_RESPONSES
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.rewards.schema import REWARDS
from rlhf.tokens.chat import encode_messages, encode_prompt
from rlhf.tokens.packing import Pack, PromptGroup

pytestmark = pytest.mark.slow
MARKS = {"open": "<think>", "close": "</think>"}
PARTS = ("train-000", "train-001")
RECORDER = """
import json

def score(prompts, responses):
    with open("seen.jsonl", "a") as seen:
        seen.writelines(json.dumps(response) + "\\n" for response in responses)
    return [-len(response) for response in responses]
"""
SCORERS = {
    "model": {
        "weight": 1.0,
        "scorer": {"kind": "armo", "model": "{results}/world/reward_model", "precision": "float32"},
    },
    "recorder": {"weight": 0.1, "scorer": {"kind": "function", "function": "recorder:score"}},
}
CHANGES: dict[str, Any] = {
    "tiny.thoughts": True,
    "responses.max_tokens": 30,  # few thoughts are as long, some answers are
    "rewards": {"kind": "combined", "scorers": SCORERS},
    "evaluation.judge.function": "recorder:score",
    "variants": {"rebel": {"loss": {"name": "rebel", "eta": 10.0}}},
}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run with `responses.hide`, and the scores of one without."""
    made = copy_project(tmp_path_factory.mktemp("thoughts"))
    (made.folder / "recorder.py").write_text(RECORDER)
    made.run(configfile=made.write_config(patch(made.read_config(), {**CHANGES, "responses.hide": MARKS}), "hidden"))
    (made.folder / "seen.jsonl").rename(made.folder / "seen_of_visible.jsonl")
    shown = {**CHANGES, "experiment": "shown", "reuse": ["results"]}
    targets = [f"results/shown/base/pairs/{part}.parquet" for part in PARTS]
    made.run(*targets, configfile=made.write_config(patch(made.read_config(), shown), "shown"))
    return made


def rows(project: Project, artifact: Artifact, stage: str, *parts: str, experiment: str = "micro") -> Rows:
    """Of `base`, and of all train parts unless some are named."""
    folder = project.folder / f"results/{experiment}/base/{stage}"
    return pa.concat_tables([artifact.read(folder / f"{part}.parquet") for part in parts or PARTS]).to_pylist()


def seen(project: Project, name: str) -> set[str]:
    return set(map(json.loads, (project.folder / name).read_text().splitlines()))


def tokenizer_of(project: Project) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(project.folder / "results/micro/world/policy")


def split(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> tuple[str, str, bool]:
    """What is said, what is thought, and whether the thought is unfinished, by token ids."""
    opening, closing = tokenizer.convert_tokens_to_ids(list(MARKS.values()))
    said, thought, thinking = list[int](), list[int](), False
    for token in ids:
        if token == closing and not thinking:
            said.clear()
        elif token not in (opening, closing):
            (thought if thinking else said).append(token)
        thinking = token == opening or (thinking and token != closing)
    texts = [tokenizer.decode(part, skip_special_tokens=True) for part in (said, thought)]
    return texts[0].lstrip(), texts[1].strip(), thinking


def test_responses_are_stored_without_thoughts_and_their_ids_are_complete(project: Project) -> None:
    found, tokenizer = rows(project, VISIBLE_RESPONSES, "responses"), tokenizer_of(project)
    parted = [split(tokenizer, row["response_token_ids"]) for row in found]
    assert [row["response"] for row in found] == [said for said, _, _ in parted]
    unfinished = [row["response_token_ids"][-1] for row, (_, _, open_) in zip(found, parted, strict=True) if open_]
    assert len(found) == 24 and 2 <= len(unfinished) <= 12
    assert tokenizer.eos_token_id in unfinished  # the policy ended its turn in its thought
    assert all(row["finish_reason"] == "length" for row, (_, _, open_) in zip(found, parted, strict=True) if open_)
    counts = [counts_of(project, "responses", part) for part in PARTS]
    assert sum(count["unfinished_thoughts"] for count in counts) == len(unfinished)
    assert sum(count["truncated"] for count in counts) == sum(row["finish_reason"] == "length" for row in found)
    assert sum(count["responses"] for count in counts) == 24

    whole = rows(project, RESPONSES, "responses", experiment="shown")
    assert [row["response_token_ids"] for row in whole] == [row["response_token_ids"] for row in found]
    assert sum(MARKS["open"] in row["response"] for row in whole) > 20
    assert {row["finish_reason"] for row in whole if row["response_token_ids"][-1] == tokenizer.eos_token_id} == {
        "stop"
    }


def counts_of(project: Project, stage: str, part: str) -> dict[str, Any]:
    counts: dict[str, Any] = read_provenance(project.folder / f"results/micro/base/{stage}/{part}.parquet")["counts"]
    return counts


def test_a_reward_function_and_the_judge_see_no_thought(project: Project) -> None:
    files = [f"base/responses/{part}.parquet" for part in (*PARTS, "test-000")] + ["rebel-1/responses/test-000.parquet"]
    found = [
        row for name in files for row in VISIBLE_RESPONSES.read(project.folder / "results/micro" / name).to_pylist()
    ]
    thoughts = [split(tokenizer_of(project), row["response_token_ids"])[1] for row in found]
    assert sum(thought != "" for thought in thoughts) > 30
    heard = seen(project, "seen_of_visible.jsonl")
    assert heard == {row["response"] for row in found}
    assert not [text for text in heard if "think>" in text]
    assert [text for text in seen(project, "seen.jsonl") if MARKS["close"] in text]


def test_the_reward_model_reads_what_is_visible(project: Project) -> None:
    folder = project.folder / "results/micro/world/reward_model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = ArmoRewardModel.from_folder_or_hub(str(folder), None, torch.float32, torch.device("cpu"))
    asked = PROMPTS.read(project.folder / "results/micro/prompts.parquet").to_pylist()
    prompts = {row["prompt_id"]: row["prompt"] for row in asked}
    for experiment, artifact in (("micro", VISIBLE_RESPONSES), ("shown", RESPONSES)):
        groups = []
        for row in rows(project, artifact, "responses", experiment=experiment):
            question = encode_prompt(tokenizer, prompts[row["prompt_id"]])
            messages = [("user", prompts[row["prompt_id"]]), ("assistant", row["response"])]
            groups.append(PromptGroup(question, [encode_messages(tokenizer, messages)[len(question) :]]))
        with torch.no_grad():
            expected = ArmoScorer(model, tokenizer)(Pack(groups, torch.device("cpu"))).values.tolist()
        stored = rows(project, REWARDS, "scores/model", experiment=experiment)
        assert [row["reward"] for row in stored] == pytest.approx(expected, abs=1e-4)
        assert len({round(value, 3) for value in expected}) > 10


def test_pairs_hold_whole_thoughts_and_no_unfinished_one(project: Project) -> None:
    tokenizer = tokenizer_of(project)
    responses = {(row["prompt_id"], row["draw"]): row for row in rows(project, VISIBLE_RESPONSES, "responses")}
    pairs = rows(project, PAIRS, "pairs")
    assert len(pairs) >= 4
    for pair in pairs:
        for side in ("chosen", "rejected"):
            source = responses[pair["prompt_id"], pair[f"{side}_draw"]]
            assert source["finish_reason"] == "stop"
            assert pair[f"{side}_token_ids"] == source["response_token_ids"]
            said, _, unfinished = split(tokenizer, pair[f"{side}_token_ids"])
            assert (pair[side], unfinished) == (said, False)
    opening, closing = tokenizer.convert_tokens_to_ids(list(MARKS.values()))
    assert sum({opening, closing} <= set(pair["chosen_token_ids"]) for pair in pairs) >= len(pairs) - 1
    for part in PARTS:
        built, sampled = counts_of(project, "pairs", part), counts_of(project, "responses", part)
        assert built["candidates_dropped"]["truncated"] == sampled["truncated"] >= sampled["unfinished_thoughts"]
        assert built["pairs"] + sum(built["dropped"].values()) == built["prompts"] == 4
    others = {row["prompt_id"]: row for row in rows(project, PAIRS, "pairs", experiment="shown")}
    assert [pair for pair in pairs if others.get(pair["prompt_id"], {}).get("chosen_draw") != pair["chosen_draw"]]


def test_log_probabilities_and_training_take_all_tokens(project: Project) -> None:
    results = project.folder / "results/micro"
    model = AutoModelForCausalLM.from_pretrained(results / "world/policy", dtype=torch.float32)
    pairs, stored = rows(project, PAIRS, "pairs"), rows(project, LOGPROBS, "logprobs")
    for pair, row in zip(pairs, stored, strict=True):
        for side in ("chosen", "rejected"):
            prompt, response = pair["prompt_token_ids"], pair[f"{side}_token_ids"]
            assert row[f"{side}_tokens"] == len(response)
            with torch.no_grad():
                logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].double() / 0.8
            expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(response)[:, None]).sum().item()
            assert row[f"{side}_logprob"] == pytest.approx(expected, abs=1e-3)
    assert (results / "rebel-1/checkpoint").is_dir()


def test_evaluation_and_page_count_and_show_what_is_visible(project: Project) -> None:
    results = project.folder / "results/micro"
    for policy in ("base", "rebel-1"):
        found = VISIBLE_RESPONSES.read(results / policy / "responses/test-000.parquet").to_pylist()
        evaluations = EVALUATION.read(results / policy / "evaluation.parquet").to_pylist()
        tokens = sum(row["visible_tokens"] for row in found) / len(found)
        cut = sum(row["finish_reason"] == "length" for row in found) / len(found)
        assert [row["mean_tokens"] for row in evaluations] == pytest.approx([tokens] * 2)
        assert [row["truncated"] for row in evaluations] == pytest.approx([cut] * 2)
        lengths = {(row["prompt_id"], row["draw"]): float(len(row["response"])) for row in found}
        compared = COMPARISONS.read(results / policy / "comparisons.parquet").to_pylist()
        assert all(row["length"] == lengths[row["prompt_id"], row["draw"]] for row in compared)
    page = next((results / "report").glob("*.html")).read_text()
    examples = page[page.index('<section id="examples">') : page.index('<section id="provenance">')]
    assert "think&gt;" not in examples
    assert "are hidden)" in examples
