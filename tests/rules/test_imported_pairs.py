"""Ready-made pairs, and what another run has made, through the micro experiment."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from experiments import patch
from project import WORLD, Project, copy_with
from rlhf.base.artifacts import read_provenance
from rlhf.pairs.schema import PAIRS, UNSCORED_PAIRS
from rlhf.training.schema import TRAINING

SCORES = {"chosen_score": "score_chosen", "rejected_score": "score_rejected"}
SCORED = {"pairs.imported": {"dataset": "pairs.jsonl", **SCORES}}
DPO = {"dpo": {"loss": {"name": "dpo", "beta": 0.1}, "iterations": 2}}
PARTS = ("train-000", "train-001", "test-000")
RESULTS = Path("results/micro")


def pairs_of(prompts: Path, *, messages: bool) -> list[dict[str, Any]]:
    """A pair for all prompts but one, one of them twice, and one of a prompt that is no prompt here."""

    def cell(prompt: str, answer: str) -> object:
        whole = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return whole if messages else answer

    texts = [row["prompt"] for row in pq.read_table(prompts).to_pylist()]
    rows = [(text, f"Yes, {number}.", f"No {number}.", number / 8) for number, text in enumerate(texts[1:])]
    rows += [("something else", "a", "b", 1.0), (texts[-1], "c", "d", 9.0)]
    return [
        {"prompt": p, "chosen": cell(p, c), "rejected": cell(p, r), "score_chosen": s + 0.5, "score_rejected": s}
        for p, c, r, s in rows
    ]


def start(finished: Project, folder: Path, *, messages: bool) -> Project:
    """A project with the tiny world and a dataset of pairs, and nothing else."""
    project = copy_with(finished, folder, WORLD)
    rows = pairs_of(project.folder / RESULTS / "world/prompts.parquet", messages=messages)
    (project.folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return project


def configure(project: Project, name: str, changes: dict[str, Any]) -> str:
    return project.write_config(patch(project.read_config(), changes), name)


def counts_of(project: Project) -> list[dict[str, Any]]:
    return [read_provenance(project.folder / RESULTS / f"base/pairs/{part}.parquet")["counts"] for part in PARTS]


def test_the_stages_before_pairs_are_left_out(micro: Project) -> None:
    imported = {"pairs.imported": {"dataset": "owner/pairs", **SCORES}, "experiment": "new"}
    planned = micro.planned_outputs(configfile=configure(micro, "imported", imported))
    of_base = {path for path in planned if path.startswith("results/new/base/")}
    train = {path.split("/")[3] for path in of_base if "/train-" in path}
    test = {path.split("/")[3] for path in of_base if "/test-" in path}
    assert (train, test) == ({"pairs", "logprobs"}, {"pairs", "logprobs", "responses", "rewards", "judgements"})
    assert "results/new/rebel-1/responses/train-000.parquet" in planned
    pooled = micro.planned_outputs(
        configfile=configure(micro, "pooled", {**imported, "pairs.pool": ["parent", "base"]})
    )
    assert {path.split("/")[3] for path in pooled - planned} == {"responses", "rewards"}


@pytest.mark.slow
def test_text_with_scores(finished_micro: Project, tmp_path: Path) -> None:
    project = start(finished_micro, tmp_path / "project", messages=False)
    config = configure(project, "scored", SCORED)
    targets = [str(RESULTS / f"{policy}/evaluation.parquet") for policy in ("rebel-1", "simpo-1")]
    project.run(*targets, configfile=config)
    assert not (project.folder / RESULTS / "base/responses/train-000.parquet").exists()
    counts = counts_of(project)
    for each in counts:
        assert each["prompts"] == 4 == each["pairs"] + sum(each["dropped"].values())
    prompts = pq.read_table(project.folder / RESULTS / "prompts.parquet")["prompt"].to_pylist()
    used = [*prompts[:8], *prompts[-4:]]
    source = pairs_of(project.folder / RESULTS / "world/prompts.parquet", messages=False)
    of_prompt = {row["prompt"]: row for row in reversed(source)}
    assert sum(each["pairs"] for each in counts) == sum(text in of_prompt for text in used)
    assert sum(each["dropped"]["no_row"] for each in counts) == sum(text not in of_prompt for text in used)
    rows = [
        row for part in PARTS for row in PAIRS.read(project.folder / RESULTS / f"base/pairs/{part}.parquet").to_pylist()
    ]
    assert {row["chosen_reward"] - row["rejected_reward"] for row in rows} == {0.5}
    assert {row["chosen"] for row in rows} == {of_prompt[text]["chosen"] for text in used if text in of_prompt}
    metrics = TRAINING.read(project.folder / RESULTS / "rebel-1/training.parquet").to_pylist()
    assert metrics[1]["reward_gap"] == pytest.approx(0.5) and metrics[0]["validation_loss"] is not None
    assert project.planned(*targets, configfile=config) == {}


@pytest.mark.slow
def test_messages_without_scores(finished_micro: Project, tmp_path: Path) -> None:
    """Two iterations that accumulate their pairs, the page, what is published, and that imported again."""
    project = start(finished_micro, tmp_path / "project", messages=True)
    changes = {
        "pairs.imported": {"dataset": "pairs.jsonl"},
        "prompts.column": "chosen",
        "prompts.dataset": "pairs.jsonl",
        "training.pairs_of": "accumulated",
        "variants": DPO,
    }
    config = configure(project, "messages", changes)
    project.run("all", "publish", configfile=config)
    results = project.folder / RESULTS
    assert sum(each["pairs"] for each in counts_of(project)) == 12
    for row in TRAINING.read(results / "dpo-1/training.parquet").to_pylist()[1:]:
        assert row["reward_gap"] is None and row["loss"] > 0
    card = (results / "dpo-2/checkpoint/README.md").read_text()
    assert "8 preference pairs of responses of `dpo-1` and, from earlier iterations, of `base`" not in card
    assert "preference pairs of responses of `dpo-1` and, from earlier iterations, of `base`" in card
    assert "- pairs for `base`: `pairs.jsonl`" in card
    assert project.planned(configfile=config) == {}

    theirs = "results/micro/published/dataset"
    for subset in ("base_preferences", "base_pairs"):
        again = {"dataset": theirs, "subset": subset, "split": "train+test"}
        other = configure(project, subset, {**changes, "experiment": subset, "pairs.imported": again})
        files = [f"base/pairs/{part}.parquet" for part in PARTS]
        project.run(*(f"results/{subset}/{file}" for file in files), configfile=other)
        for file in files:
            ours = UNSCORED_PAIRS.read(project.folder / "results" / subset / file)
            assert ours.equals(UNSCORED_PAIRS.read(results / file))


def test_what_another_run_made_is_read_back_exactly(finished_micro: Project, tmp_path: Path) -> None:
    """Its prompts as the dataset of prompts; its pairs; its responses with their rewards."""
    project = copy_with(finished_micro, tmp_path / "project", WORLD)
    other = project.folder / "results/other"
    shutil.copytree(finished_micro.folder / RESULTS, other)
    scores = {"chosen_score": "chosen_reward", "rejected_score": "rejected_reward"}
    sections: dict[str, dict[str, Any]] = {
        "pairs.imported": {"dataset": "results/other/base/pairs", "split": "train+test", **scores},
        "responses.imported": {"dataset": "results/other/base/responses", "rewards": True},
    }
    for section, settings in sections.items():
        shutil.rmtree(project.folder / RESULTS / "base", ignore_errors=True)
        config = configure(project, "again", {section: settings, "prompts.dataset": "results/other/prompts.parquet"})
        files = [f"base/pairs/{part}.parquet" for part in PARTS]
        project.run(*(str(RESULTS / file) for file in files), configfile=config)
        for file in files:
            assert PAIRS.read(project.folder / RESULTS / file).equals(PAIRS.read(other / file)), (section, file)
        counts = [read_provenance(project.folder / RESULTS / file)["counts"] for file in files]
        assert [each["pairs"] for each in counts] == [4, 4, 4]
