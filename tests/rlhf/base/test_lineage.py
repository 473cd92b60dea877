"""Files that do not belong together are refused by the programs' first look at them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rlhf.base.artifacts import Artifact, ArtifactError
from rlhf.base.files.checksums import DamagedError
from rlhf.base.files.folders import whole_folder, write_folder_provenance
from rlhf.base.lineage import checked_inputs, different_inputs
from rlhf.base.provenance import digest

THING = Artifact("thing", pa.schema([pa.field("name", pa.string(), nullable=False)]), ("name",))


def made(path: Path, name: str | None = None, **inputs: Any) -> Path:
    """A file that says that it was made from others."""
    recorded = {
        kind: [digest(p) for p in paths] if isinstance(paths, list) else digest(paths) for kind, paths in inputs.items()
    }
    THING.write(path, [{"name": name or path.stem}], {"inputs": recorded})
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    prompts = made(tmp_path / "prompts.parquet")
    with whole_folder(tmp_path / "policy") as policy:
        write_folder_provenance(policy, {"inputs": {"pairs": ["0123456789abcdef"]}})
    found = {"prompts": prompts, "policy": tmp_path / "policy"}
    for name in ("base", "rebel"):
        responses = made(tmp_path / f"{name}-responses.parquet", prompts=prompts, policy=tmp_path / "policy")
        rewards = made(tmp_path / f"{name}-rewards.parquet", prompts=prompts, responses=responses)
        pairs = made(tmp_path / f"{name}-pairs.parquet", prompts=prompts, responses=responses, rewards=rewards)
        logprobs = made(tmp_path / f"{name}-logprobs.parquet", pairs=pairs, policy=tmp_path / "policy")
        found |= {f"{name}-{p.stem.split('-')[1]}": p for p in (responses, rewards, pairs, logprobs)}
    return found


def test_consistent_inputs_are_returned(files: dict[str, Path]) -> None:
    given = {"prompts": files["prompts"], "responses": files["base-responses"], "rewards": files["base-rewards"]}
    assert checked_inputs(**given, judgements=[], policy=None) == given
    training = {
        "policy": files["policy"],  # of other pairs than those that it is trained on next
        "pairs": [files["base-pairs"]],
        "logprobs": [files["base-logprobs"]],
        "validation_pairs": [files["rebel-pairs"]],
        "validation_logprobs": [files["rebel-logprobs"]],
    }
    assert checked_inputs(**training) == training


def test_rewards_of_other_responses(files: dict[str, Path]) -> None:
    with pytest.raises(ArtifactError) as refused:
        checked_inputs(prompts=files["prompts"], responses=files["rebel-responses"], rewards=files["base-rewards"])
    assert str(refused.value).startswith(
        f"{files['base-rewards']}: the rewards were not made from the given responses ({files['rebel-responses']}): "
    )


def test_logprobs_of_another_policy(files: dict[str, Path], tmp_path: Path) -> None:
    with whole_folder(tmp_path / "other") as other:
        (other / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="the logprobs were not made from the given policy"):
        checked_inputs(policy=tmp_path / "other", pairs=[files["base-pairs"]], logprobs=[files["base-logprobs"]])


def test_logprobs_of_pairs_that_were_made_again(files: dict[str, Path]) -> None:
    made(files["base-pairs"], "sides exchanged")
    with pytest.raises(ArtifactError, match="the logprobs were not made from the given pairs"):
        checked_inputs(pairs=[files["base-pairs"]], logprobs=[files["base-logprobs"]])


@pytest.mark.parametrize("group", ["base", "reference", "validation"])
def test_files_of_a_group_are_compared_with_their_own(group: str, files: dict[str, Path]) -> None:
    first, second = (
        {"responses": files[f"{name}-responses"], "rewards": files[f"{name}-rewards"]} for name in ("base", "rebel")
    )
    checked_inputs(**first, **{f"{group}_{kind}": path for kind, path in second.items()})
    with pytest.raises(ArtifactError, match=f"the {group}_rewards were not made from the given responses"):
        checked_inputs(**first, **{f"{group}_responses": second["responses"], f"{group}_rewards": first["rewards"]})


def test_a_damaged_policy_is_refused_before_it_is_loaded(files: dict[str, Path]) -> None:
    (files["policy"] / "provenance.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"`provenance.json` does not match"):
        checked_inputs(policy=files["policy"], pairs=files["base-pairs"])


def test_different_inputs_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    origin = {"inputs": {"prompts": digest(files["prompts"]), "pairs": [digest(files["base-pairs"])]}}
    same = {"prompts": [files["prompts"]], "pairs": [files["base-pairs"]], "logprobs": []}
    assert different_inputs(origin, same) == []
    assert different_inputs(origin, {**same, "logprobs": [files["base-logprobs"]]}) == ["logprobs"]
    assert different_inputs(origin, {**same, "pairs": [files["base-pairs"], files["rebel-pairs"]]}) == ["pairs"]
    assert different_inputs(origin, {**same, "pairs": [tmp_path / "not made yet"]}) == []
