"""The program that builds pairs."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

import build_pairs
from rlhf.base.artifacts import Artifact, ArtifactError, read_provenance
from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.base.provenance import digest
from rlhf.pairs.schema import PAIRS, POOLED_PAIRS, pair_artifact
from rlhf.pairs.settings import PairSpec
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five prompts; responses and rewards of the last two, of which the very last has only ties."""
    keys = [{"prompt_id": f"p{number}", "draw": draw} for number in (3, 4) for draw in (0, 1)]
    prompts = [{"prompt_id": f"p{n}", "prompt": f"{n}", "prompt_token_ids": [n]} for n in range(5)]
    PROMPTS.write(tmp_path / "prompts.parquet", prompts, {})
    responses = [
        {**key, "response": f"r{row}", "response_token_ids": [row], "finish_reason": "stop", "seed": 1}
        for row, key in enumerate(keys)
    ]
    RESPONSES.write(tmp_path / "responses.parquet", responses, {})
    write_rewards(tmp_path, keys, [1.0, 2.0, 3.0, 3.0])
    return tmp_path


def write_rewards(folder: Path, keys: list[dict[str, Any]], rewards: list[float]) -> None:
    rows = [
        {**key, "reward": reward, "invalid": None, "objectives": None}
        for key, reward in zip(keys, rewards, strict=True)
    ]
    REWARDS.write(folder / "rewards.parquet", rows, {})


def run_program(folder: Path, monkeypatch: pytest.MonkeyPatch, start: int, stop: int, **changes: Any) -> Path:
    values = {"choose": "best_worst", "target_margin": None, "min_margin": 0.0, "seed": None}
    spec = PairSpec.model_validate({"rows": Rows(start=start, stop=stop), **values, **changes})
    flags = [word for flag in ("prompts", "responses", "rewards") for word in (f"--{flag}", f"{folder / flag}.parquet")]
    output = folder / "pairs.parquet"
    monkeypatch.setattr(sys, "argv", ["x", "--spec", spec.model_dump_json(), *flags, "--output", str(output)])
    build_pairs.main()
    return output


def test_pairs_of_a_part_at_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = run_program(folder, monkeypatch, -2, 0)
    (row,) = PAIRS.read(output).to_pylist()
    assert (row["prompt_id"], row["chosen"], row["rejected"]) == ("p3", "r1", "r0")
    provenance = read_provenance(output)
    dropped = {"no_two_candidates": 0, "tie": 1, "identical": 0, "below_margin": 0}
    assert provenance["counts"] == {"prompts": 2, "pairs": 1, "dropped": dropped, "candidates_dropped": {}}
    names = ("prompts", "responses", "rewards")
    assert provenance["inputs"] == {name: digest(folder / f"{name}.parquet") for name in names}


def test_equal_inputs_give_equal_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_program(folder, monkeypatch, -2, 0).read_bytes()
    assert run_program(folder, monkeypatch, -2, 0).read_bytes() == first


def test_random_pairs_follow_the_seed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three prompts with four responses each."""
    keys = [{"prompt_id": f"p{number}", "draw": draw} for number in (2, 3, 4) for draw in range(4)]
    responses = [
        {**key, "response": f"r{row}", "response_token_ids": [row], "finish_reason": "stop", "seed": 1}
        for row, key in enumerate(keys)
    ]
    RESPONSES.write(folder / "responses.parquet", responses, {})
    write_rewards(folder, keys, [float(row) for row in range(12)])
    taken = set()
    for seed in range(5):
        output = run_program(folder, monkeypatch, -3, 0, choose="random", seed=seed)
        assert read_provenance(output)["spec"]["seed"] == seed
        rows = PAIRS.read(output).to_pylist()
        assert all(row["chosen_reward"] > row["rejected_reward"] for row in rows)
        taken.add(tuple((row["chosen_draw"], row["rejected_draw"]) for row in rows))
    assert len(taken) == 5


def test_several_pairs_of_a_prompt_have_a_key_with_draws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two prompts of four responses, the last with two ties for the best."""
    keys = [{"prompt_id": f"p{number}", "draw": draw} for number in (3, 4) for draw in range(4)]
    responses = [
        {**key, "response": f"r{row}", "response_token_ids": [row], "finish_reason": "stop", "seed": 1}
        for row, key in enumerate(keys)
    ]
    RESPONSES.write(folder / "responses.parquet", responses, {})
    write_rewards(folder, keys, [1.0, 4.0, 2.0, 3.0, 5.0, 0.0, 5.0, 1.0])
    output = run_program(folder, monkeypatch, -2, 0, per_prompt=3)
    artifact = pair_artifact(output)
    assert artifact.schema == PAIRS.schema and artifact.key == ("prompt_id", "chosen_draw", "rejected_draw")
    rows = artifact.read(output).to_pylist()
    found = [tuple(row[name] for name in artifact.key) for row in rows]
    assert found == [("p3", 1, 0), ("p3", 1, 2), ("p3", 1, 3), ("p4", 0, 1), ("p4", 0, 3)]
    provenance = read_provenance(output)
    assert provenance["spec"]["per_prompt"] == 3
    assert provenance["counts"]["paired_prompts"] == 2 and provenance["counts"]["pairs_dropped"]["tie"] == 1
    assert "per_prompt" not in read_provenance(run_program(folder, monkeypatch, -2, 0))["spec"]


def test_no_pairs_are_an_empty_file_and_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        output = run_program(folder, monkeypatch, -2, 0, min_margin=5.0)
    assert len(PAIRS.read(output)) == 0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_no_pairs_of_many_prompts_stop_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [{"prompt_id": f"p{number}", "draw": draw} for number in range(20) for draw in (0, 1)]
    prompts = [{"prompt_id": f"p{n}", "prompt": f"{n}", "prompt_token_ids": [n]} for n in range(20)]
    PROMPTS.write(folder / "prompts.parquet", prompts, {})
    cut = {"response": "r", "response_token_ids": [1], "finish_reason": "length", "seed": 1}
    RESPONSES.write(folder / "responses.parquet", [{**key, **cut} for key in keys], {})
    write_rewards(folder, keys, [float(row) for row in range(40)])
    with pytest.raises(
        UserError, match=r"pairs\.parquet: no prompt has a pair\. .*40 responses .*`responses.max_tokens`"
    ):
        run_program(folder, monkeypatch, 0, 20)
    assert not (folder / "pairs.parquet").exists()


def test_another_part_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ArtifactError, match=r"responses\.parquet: row 0: prompt_id 'p3' is not among the part's 2 prompts"
    ):
        run_program(folder, monkeypatch, 0, 2)


def test_the_commits_of_policy_and_reward_model_are_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written_by(artifact: Artifact, **origin: Any) -> None:
        path = folder / f"{artifact.name}.parquet"
        artifact.write(path, artifact.read(path), origin)

    written_by(RESPONSES, model_revision="a" * 40)
    written_by(REWARDS, model_revision="b" * 40)
    carried = read_provenance(run_program(folder, monkeypatch, -2, 0))["revisions"]
    assert carried == {"policy": "a" * 40, "reward model": "b" * 40}

    written_by(REWARDS, revisions={"scorer helpful": "c" * 40, "policy": "d" * 40})
    with pytest.raises(UserError, match="two revisions of the policy are mixed"):
        run_program(folder, monkeypatch, -2, 0)


def test_a_pool_takes_files_of_each_policy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first policy's rewards of the prompt are 1 and 2, those of base 4 and 0."""
    keys = [{"prompt_id": f"p{number}", "draw": draw} for number in (3, 4) for draw in (0, 1)]
    (folder / "base").mkdir()
    write_rewards(folder / "base", keys, [4.0, 0.0, 3.0, 3.0])
    responses = [
        {**row, "response_token_ids": [10 + number]}
        for number, row in enumerate(RESPONSES.read(folder / "responses.parquet").to_pylist())
    ]
    RESPONSES.write(folder / "base/responses.parquet", responses, {})
    both = {name: [folder / f"{name}.parquet", folder / f"base/{name}.parquet"] for name in ("responses", "rewards")}
    spec = {"rows": {"start": -2, "stop": 0}, "choose": "best_worst", "target_margin": None, "min_margin": 0.0}
    spec |= {"seed": None, "pool": ["rebel-1", "base"]}
    output = folder / "pairs.parquet"

    def run_pool(rewards: list[Path]) -> None:
        flags = ["--prompts", folder / "prompts.parquet", "--responses", *both["responses"], "--rewards", *rewards]
        command = ["x", "--spec", json.dumps(spec), *flags, "--output", output]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        build_pairs.main()

    run_pool(both["rewards"])
    (row,) = POOLED_PAIRS.read(output).to_pylist()
    assert (row["chosen_policy"], row["chosen_draw"], row["chosen_token_ids"]) == ("base", 0, [10])
    assert (row["rejected_policy"], row["rejected_draw"], row["rejected_token_ids"]) == ("base", 1, [11])
    inputs = read_provenance(output)["inputs"]
    assert [inputs[name] for name in both] == [list(map(digest, paths)) for paths in both.values()]
    spec |= {"choose": "all", "per_prompt": 6}
    run_pool(both["rewards"])
    artifact = pair_artifact(output)
    assert artifact.key == ("prompt_id", "chosen_policy", "chosen_draw", "rejected_policy", "rejected_draw")
    keys = {tuple(row[name] for name in artifact.key[1:]) for row in artifact.read(output).to_pylist()}
    assert len(keys) == 6 and ("rebel-1", 0, "base", 1) in keys and ("base", 0, "rebel-1", 0) in keys
    with pytest.raises(ArtifactError, match=r"2 file\(s\) and --rewards 1: the pairs are of 2 policy\(s\)"):
        run_pool(both["rewards"][:1])
