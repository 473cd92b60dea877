"""Reading the artifacts of an experiment."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.base.errors import UserError
from rlhf.pairs.schema import PAIRS, REWARD_COLUMNS, UNSCORED_PAIRS
from rlhf.report.figures import pair_figure
from rlhf.report.material import flat_counts, read_material
from rlhf.report.page import facts, pair_table
from rlhf.report.settings import ReportSpec
from rlhf.responses.schema import RESPONSES, VISIBLE_RESPONSES
from synthetic_experiment import DEFAULT_POLICIES, write_experiment


def spec_of(
    policies: Sequence[str] = DEFAULT_POLICIES, label: str | None = "true quality", examples: int = 3
) -> ReportSpec:
    return ReportSpec(experiment="e", policies=list(policies), judge_label=label, examples=examples)


def test_files_belong_to_the_policy_of_their_folder(tmp_path: Path) -> None:
    material = read_material(spec_of(), write_experiment(tmp_path, prompts=10, draws=2))
    assert [policy.name for policy in material.policies] == list(DEFAULT_POLICIES)
    known = {policy.name: policy for policy in material.policies}
    for policy in material.policies:
        assert policy.judgements is not None
        for scores in (policy.rewards, policy.judgements):
            assert (scores.prompts, scores.responses, scores.draws) == (10, 20, 2)
            assert len(scores.valid) + sum(scores.invalid.values()) == 20
    assert known["base"].training is None
    assert known["base"].pairs is not None
    assert known["base"].pairs.counts == {"prompts": 15, "pairs": 10, "dropped: tie": 3,
                                          "dropped: one_valid_response": 2}  # fmt: skip
    assert known["rebel-1"].pairs is not None
    assert len(known["rebel-1"].pairs.margins) == known["rebel-1"].pairs.number == 10
    assert known["rebel-2"].pairs is None
    assert known["dpo-1"].provenance["training"]["spec"]["policy"] == "dpo-1"


def test_imported_pairs_without_scores_have_no_margins(tmp_path: Path) -> None:
    """They are counted; the figure shows the margins of other policies, and none where nobody has any."""
    files = write_experiment(tmp_path, prompts=10, draws=2)
    for path in files.pairs:
        rows = [{**row, **dict.fromkeys(REWARD_COLUMNS)} for row in PAIRS.read(path).to_pylist()]
        UNSCORED_PAIRS.write(path, rows, {"spec": {"chosen_score": None}, "counts": {"prompts": 10, "pairs": 10}})
        material = read_material(spec_of(), files)
        name = path.parents[1].name
        pairs = next(policy.pairs for policy in material.policies if policy.name == name)
        assert pairs is not None and (pairs.number, len(pairs.margins)) == (10, 0)
        (row,) = (row for row in pair_table(material)[1] if row.policy == name)
        assert (row.median, row.mean) == ("–", "–")
        assert ("20", "preference pairs") in facts(material)
    assert pair_figure(material) is None


def test_examples_are_the_same_prompts_for_every_policy_and_every_run(tmp_path: Path) -> None:
    files = write_experiment(tmp_path)
    first, second = (read_material(spec_of(), files).examples for _ in range(2))
    assert first == second
    assert len(first) == 3
    assert all(list(example.answers) == list(DEFAULT_POLICIES) for example in first)
    assert read_material(spec_of(examples=2), files).examples == first[:2]
    assert len(read_material(spec_of(examples=1000), files).examples) == 24
    assert read_material(spec_of(examples=0), files).examples == []


def test_hidden_thoughts_of_an_example_are_counted_apart(tmp_path: Path) -> None:
    files = write_experiment(tmp_path)
    before = read_material(spec_of(), files).examples
    for path in files.responses:
        rows = [{**row, "visible_tokens": 1} for row in RESPONSES.read(path).to_pylist()]
        origin = read_provenance(path)
        VISIBLE_RESPONSES.write(path, rows, {**origin, "spec": {**origin["spec"], "hide": {"open": "<", "close": ">"}}})
    after = read_material(spec_of(), files).examples
    for example, hidden in zip(before, after, strict=True):
        for name, (answer, judgement) in example.answers.items():
            assert answer.hidden_tokens == 0
            expected = replace(answer, tokens=1, hidden_tokens=answer.tokens - 1)
            assert hidden.answers[name] == (expected, judgement)


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    files = write_experiment(tmp_path)
    turned = replace(
        files,
        responses=files.responses[::-1],
        rewards=files.rewards[::-1],
        judgements=files.judgements[::-1],
        evaluations=files.evaluations[::-1],
    )
    assert read_material(spec_of(), files) == read_material(spec_of(), turned)


def test_a_policy_without_files_is_an_error(tmp_path: Path) -> None:
    files = write_experiment(tmp_path, ["base"])
    with pytest.raises(UserError, match="no evaluation of dpo-1"):
        read_material(spec_of(["base", "dpo-1"]), files)


def test_a_file_of_an_unknown_policy_is_an_error(tmp_path: Path) -> None:
    files = write_experiment(tmp_path, ["base", "dpo-1"])
    with pytest.raises(UserError, match=r"'dpo-1'.*is none of base"):
        read_material(spec_of(["base"]), files)


def test_a_label_without_judgements_is_an_error(tmp_path: Path) -> None:
    files = write_experiment(tmp_path, ["base"], judged=False)
    with pytest.raises(UserError, match="no judgements of base"):
        read_material(spec_of(["base"]), files)


def test_prompts_of_another_experiment_are_an_error(tmp_path: Path) -> None:
    files = write_experiment(tmp_path / "one", ["base"], prompts=10)
    other = write_experiment(tmp_path / "other", ["base"], prompts=8)
    with pytest.raises(ArtifactError, match="no prompt_id="):
        read_material(spec_of(["base"]), replace(files, prompts=other.prompts))


def test_counts_become_one_level() -> None:
    assert flat_counts({"pairs": 4, "dropped": {"tie": 1, "cut": 2}}) == {"pairs": 4, "dropped: tie": 1,
                                                                          "dropped: cut": 2}  # fmt: skip
