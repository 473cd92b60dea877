"""Which variants are trained, and with which settings."""

from typing import Any

import pytest

from experiments import MICRO, experiment
from workflow.experiment import Experiment

GRID = {"variant": "rebel", "over": {"learning_rate": [1e-4, 1e-3], "loss.eta": [1.0, 10.0]}, "seeds": 2, "pilot": 4}


def swept(*, prompts__selection: int = 4, **settings: Any) -> Experiment:
    return experiment(MICRO, prompts__selection=prompts__selection, sweeps={"rates": {**GRID, **settings}})


def test_a_variant_that_is_swept_is_not_trained_by_itself() -> None:
    found = swept(promote=2)
    assert found.policies() == ["base", "simpo-1", "rates_1-1", "rates_1-2", "rates_2-1", "rates_2-2"]
    assert found.candidates()[:3] == ["rebel_lr1e-4_eta1_s1-1", "rebel_lr1e-4_eta1_s2-1", "rebel_lr1e-4_eta10_s1-1"]
    assert len(found.candidates()) == 8
    assert found.is_candidate("rebel_lr1e-4_eta1_s1-1")
    assert not any(map(found.is_candidate, found.policies()))


def test_candidates_are_pilots_with_a_seed_of_their_own() -> None:
    found = swept()
    recipe = found.recipe("rebel_lr1e-4_eta10_s2")
    assert (recipe.pairs, recipe.learning_rate, recipe.batch_size) == (4, 1e-4, 2)
    assert found.loss("rebel_lr1e-4_eta10_s2-1").eta == 10  # type: ignore[attr-defined]
    assert [found.trained[f"rebel_lr1e-4_eta10_s{seed}"].seed for seed in (1, 2)] == [0, 1]
    assert found.recipe("rates_1").pairs is None


def test_the_default_is_the_point_with_the_variants_own_settings() -> None:
    """Micro: a learning rate of 1e-3 for all variants, eta 10 for rebel."""
    assert swept().sweep_points["rates"].default == 3
    assert swept(over={"learning_rate": [5e-4, 2e-3]}).sweep_points["rates"].default == 0


def test_a_section_that_all_variants_share_keeps_its_other_keys() -> None:
    lora = {"rank": 2, "targets": ["q_proj"]}
    found = experiment(
        MICRO,
        prompts__selection=4,
        training__lora=lora,
        sweeps={"x": {"variant": "rebel", "over": {"lora.alpha": [2, 4]}, "pilot": 4}},
    )
    recipe = found.recipe("rebel_alpha4_s1").lora
    assert recipe is not None
    assert (recipe.rank, recipe.alpha, recipe.targets) == (2, 4, ["q_proj"])


def test_random_points_that_are_the_same_are_taken_once() -> None:
    over = {"epochs": [1], "warmup": {"low": 0.1, "high": 0.1001, "scale": "linear"}}
    assert len(swept(over=over, draws=9).sweep_points["rates"].points) == 1


def test_selection_prompts_lie_between_the_others() -> None:
    found = swept(prompts__selection=3)
    assert found.selection_parts() == ["selection-000"]
    assert found.rows("selection-000").model_dump() == {"start": -7, "stop": -4}
    assert found.rows("test-000").model_dump() == {"start": -4, "stop": 0}
    assert found.compared_parts("rebel_lr1e-4_eta1_s1-1") == ["selection-000"]
    assert found.compared_parts("rates_1-1") == ["test-000"] == found.compared_parts("base")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts__selection": 0}, "prompts.selection: it is 0, and the sweep 'rates' compares"),
        ({"prompts__selection": 5}, r"prompts.train \(8\), prompts.selection \(5\) and prompts.test \(4\) ask for 17"),
        ({"variant": "dpo"}, "sweeps.rates.variant: there is no variant 'dpo'; rebel, simpo"),
        ({"over": {"loss.name": ["dpo"]}}, "it changes `loss.name`: a loss is a variant of its own"),
        ({"over": {"pairs": [3]}}, "it changes `pairs`: `pilot` says"),
        ({"over": {"iterations": [3]}}, "it changes `iterations`"),
        ({"over": {"lr": [1e-3]}}, r"the point \{lr: 0.001\} is no valid variant: lr: Extra inputs"),
        ({"over": {"learning_rate": [5]}}, r"the point \{learning_rate: 5\} is no valid variant: learning_rate"),
        ({"over": {"loss.beta": [0.1]}}, "is no valid variant: loss"),
        ({"over": {"epochs": [1, 1]}}, "rebel_epochs1 and rebel_epochs1 are the same settings"),
        ({"points": [{"epochs": 1, "loss.eta": 10.0}]}, "rebel_lr1e-3_eta10 and rebel_epochs1_eta10 are the same"),
        ({"promote": 5}, r"sweeps.rates.promote: it is 5, and the sweep has 4 point\(s\)"),
        ({"over": {}}, "it has no points"),
        ({"draws": 3}, "`draws` takes random points from ranges"),
        ({"over": {"learning_rate": {"low": 1e-5, "high": 1e-3}}}, "say in `draws`"),
        ({"over": {"learning_rate": {"low": 1e-3, "high": 1e-5}}, "draws": 2}, r"low \(0.001\) must be less than high"),
        ({"over": {"warmup": {"low": 0.0, "high": 0.5}}, "draws": 2}, "on the scale `log` it must be greater than 0"),
    ],
)
def test_a_wrong_sweep_is_refused_by_a_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        swept(**changes)


def test_names_that_meet_are_refused() -> None:
    with pytest.raises(Exception, match="two variants are called 'simpo_1'"):
        experiment(MICRO, prompts__selection=4, variants__simpo_1={"loss": {"name": "simpo"}}, sweeps={"simpo": GRID})


def test_a_judge_that_is_not_there_is_refused() -> None:
    with pytest.raises(Exception, match=r"sweeps.rates.judge: it is 'judge', and `evaluation.judge` names none"):
        experiment(MICRO, prompts__selection=4, evaluation__judge=None, sweeps={"rates": {**GRID, "judge": "judge"}})
