"""The examples of "Make it yours": each is planned as it is, and run on local files of the form of its datasets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from project import Project
from rlhf.rewards.schema import REWARDS
from rlhf.tiny.language.tasks import tasks
from workflow.experiment import load_experiment
from workflow.planning.checks.scorers import check_kept_columns
from workflow.planning.checks.sources import check_sources

REPOSITORY = Path(__file__).resolve().parents[2]
MICRO = REPOSITORY / "config/micro.yaml"
FILES = {
    "HuggingFaceH4/ultrachat_200k": "chats.jsonl",
    "HuggingFaceH4/ultrafeedback_binarized": "pairs.jsonl",
    "owner/sums": "sums.jsonl",
    "owner/responses": "responses.jsonl",
}
"""A file for each dataset of the hub."""


def examples() -> dict[str, str]:
    """What each example is about, and its YAML."""
    readme = (REPOSITORY / "README.md").read_text()
    (block,) = re.findall(r"^## Make it yours$.*?^```yaml\n(.*?)^```$", readme, re.M | re.S)
    parts = re.findall(r"((?:^#[^\n]*\n)+)((?:^[^#\n][^\n]*\n)+)", block, re.M)
    assert "".join(comment + keys for comment, keys in parts) == block
    return {re.split(r"[:(,]", comment.removeprefix("# "))[0].strip(): keys for comment, keys in parts}


EXAMPLES = examples()
QUICK = ("rewards with reference answers", "ready-made pairs")


def changed(text: str) -> dict[str, Any]:
    """The micro experiment, with five draws, and what an example changes of it."""
    config: dict[str, Any] = yaml.safe_load(MICRO.read_text())
    config["responses"]["draws"] = 5
    for section, values in yaml.safe_load(text).items():
        whole = section in ("variants", "rewards") or section not in config
        config[section] = values if whole else {**config[section], **values}
    if "hide" in config["responses"]:
        config["tiny"]["thoughts"] = True
    return config


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_can_be_planned(name: str) -> None:
    experiment = load_experiment(changed(EXAMPLES[name]), "README.md")
    check_sources(experiment)
    check_kept_columns(experiment)


def test_an_example_for_each_kind_of_data() -> None:
    keys = "".join(EXAMPLES.values())
    for key in (
        "column",
        "keep",
        "hide",
        "imported: {",
        "per_prompt",
        "kind: math",
        "sft_weight",
        "wpo",
        "kto",
        "best",
    ):
        assert key in keys


def write_datasets(folder: Path, prompts: list[str]) -> None:
    """A file for each dataset, of its form, with the prompts of the tiny world."""
    sums = [task for task in tasks().values() if task.family == "sums"][:40]

    def chat(prompt: str, answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]

    rows: Mapping[str, list[dict[str, Any]]] = {
        "chats.jsonl": [
            {
                "prompt_id": str(number),
                "messages": [*chat(prompts[number - 1], "Yes."), *chat(prompt, "No.")][: 4 - number % 2],
            }
            for number, prompt in enumerate(prompts)
        ],
        "pairs.jsonl": [
            {
                "prompt": prompt,
                "chosen": chat(prompt, f"It is {number}."),
                "rejected": chat(prompt, "No idea."),
                "score_chosen": 8.0 + number % 2,
                "score_rejected": 3.5,
            }
            for number, prompt in enumerate(prompts)
        ],
        "sums.jsonl": [{"prompt": task.prompt, "answer": task.answer[0]} for task in sums],
        "responses.jsonl": [
            {
                "prompt": prompt,
                **{f"response_{draw}": f"It is {draw}." for draw in range(5)},
                **{f"response_{draw}_reward": draw / 5 for draw in range(5)},
            }
            for prompt in prompts
        ],
    }
    for name, lines in rows.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES]
)
def test_every_example_runs(name: str, scratch_micro: Project) -> None:
    project, text = scratch_micro, EXAMPLES[name]
    prompts = pq.read_table(project.folder / "results/micro/world/prompts.parquet")["prompt"].to_pylist()
    write_datasets(project.folder, prompts)
    for dataset, file in FILES.items():
        text = text.replace(dataset, file)
    config = changed(text)
    if "examples" in config:  # the scale of ArmoRM's rewards is not that of the tiny reward model
        rewards = REWARDS.read(project.folder / "results/micro/base/rewards/train-000.parquet")["reward"].to_pylist()
        middle = sorted(rewards)[len(rewards) // 2]
        config["examples"] = {"desirable_above": middle, "undesirable_below": middle}
    project.run(configfile=project.write_config(config, "example"))
    results = project.folder / "results/micro"
    for variant in config["variants"]:
        assert (results / f"{variant}-1/checkpoint/model.safetensors").is_file()
        assert (results / f"{variant}-1/evaluation.parquet").is_file()
    assert (results / "report/index.html").is_file()
    assert not project.planned(configfile="config/example.yaml")
