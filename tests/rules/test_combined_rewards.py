"""Several scorers in one experiment: the files, the values, and what reruns."""

import copy
import statistics
from typing import Any

import pytest

from project import Project
from rlhf.base.artifacts import read_provenance
from rlhf.rewards.schema import REWARDS

PAIRS = "results/micro/base/pairs/train-001.parquet"
MODEL = {"kind": "armo", "model": "{results}/world/reward_model", "precision": "float32"}
# Not in alphabetical order, and with different weights: a mix-up shows.
SCORERS = {
    "taste": {"weight": 3.0, "scorer": MODEL},
    "length": {"weight": 1.0, "scorer": {"kind": "function", "function": "my_rewards:length"}},
}


def combined(project: Project, **changes: Any) -> str:
    """The micro experiment with two scorers; `changes` are of the scorers' keys."""
    config = project.read_config()
    config["rewards"] = {"kind": "combined", "scorers": copy.deepcopy(SCORERS)}
    for name, change in changes.items():
        scorer = config["rewards"]["scorers"][name]
        scorer["weight"] = change.pop("weight", scorer["weight"])
        scorer["scorer"] = {**scorer["scorer"], **change} if "kind" not in change else change
    return project.write_config(config, "combined")


@pytest.fixture
def project(scratch_micro: Project) -> Project:
    (scratch_micro.folder / "my_rewards.py").write_text(
        "def length(prompts, responses):\n    return [-len(response) for response in responses]\n\n\n"
        "def words(prompts, responses):\n    return [len(response.split()) for response in responses]\n"
    )
    scratch_micro.run(PAIRS, configfile=combined(scratch_micro))
    return scratch_micro


def scores(project: Project, name: str, part: str) -> dict[tuple[str, int], float]:
    rows = REWARDS.read(project.folder / f"results/micro/base/{name}/{part}.parquet").to_pylist()
    return {(row["prompt_id"], row["draw"]): row["reward"] for row in rows}


@pytest.mark.slow
def test_several_scorers(project: Project) -> None:
    expected = dict.fromkeys(scores(project, "rewards", "train-001"), 0.0)
    for name, share in (("taste", 0.75), ("length", 0.25)):
        reference = list(scores(project, f"scores/{name}", "train-000").values())
        mean, deviation = statistics.fmean(reference), statistics.pstdev(reference)
        for key, score in scores(project, f"scores/{name}", "train-001").items():
            expected[key] += share * (score - mean) / deviation
    assert scores(project, "rewards", "train-001") == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 4) for value in expected.values()}) > 5
    origin = read_provenance(project.folder / "results/micro/base/rewards/train-001.parquet")
    assert origin["objectives"] == ["length", "taste"]

    combination = {"combine_rewards": {"base"}, "build_pairs": {"base"}}
    rescored = {"score_responses": {"base"}, **combination}
    words = {"kind": "function", "function": "my_rewards:words"}
    edits: list[tuple[str, dict[str, Any], dict[str, set[str]]]] = [
        ("taste", {"weight": 2.0}, combination),
        ("length", {"function": "my_rewards:words"}, rescored),
        ("taste", {"max_tokens": 99}, rescored),
        ("taste", {"precision": "bfloat16"}, rescored),
        ("taste", words, rescored),
        ("taste", {"model": "owner/other"}, rescored),
        ("taste", {"model": "owner/other", "revision": "v2"}, rescored),
    ]
    shown = []
    for name, change, jobs in edits:
        config = combined(project, **{name: change})
        assert project.planned(PAIRS, configfile=config) == jobs, (name, change)
        outputs = project.planned_outputs(PAIRS, configfile=config)
        other = {"taste": "length", "length": "taste"}[name]
        assert not [path for path in outputs if f"scores/{other}/" in path]
        shown.append(project.snakemake(PAIRS, "--dry-run", "--printshellcmds", configfile=config).stdout)
    assert '"revision":"v2"' in shown[-1] and '"revision":"v2"' not in shown[-2]
    assert project.planned(PAIRS, configfile=combined(project)) == {}
