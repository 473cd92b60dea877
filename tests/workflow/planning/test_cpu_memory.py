"""What jobs on the CPU ask for: it follows the configuration, and covers what was measured."""

from typing import Any

import pytest

from workflow.experiment import Experiment
from workflow.hardware import HardwareSettings, JobHardware
from workflow.planning.cpu_memory import NEEDED, STEP_MB, job_mb

PER_PART = ("build_pairs", "build_examples", "import_pairs", "import_responses", "import_rewards", "combine_rewards")
TOTAL = ("collect_prompts", "evaluate_policy", "report")
MEASURED = {"build_pairs": 505, "build_examples": 554, "evaluate_policy": 689, "report": 658}
"""Megabytes at 300,000 prompts with 5 draws, of 170 and 410 tokens, in parts of 7,000."""


def experiment(hardware: dict[str, Any] | None = None, **prompts: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "experiment": "e",
            "base_model": {"name": "owner/model"},
            "prompts": {"dataset": "owner/prompts", "part_size": 7000, "max_tokens": 170, **prompts},
            "responses": {"draws": 5, "max_tokens": 410},
            "variants": {"dpo": {"loss": {"name": "dpo", "beta": 0.1}}},
            "hardware": hardware or {},
        }
    )


def test_every_section_without_a_number_of_its_own_has_a_formula() -> None:
    fields = HardwareSettings.model_fields
    without = {
        name
        for name, field in fields.items()
        if isinstance(field.default, JobHardware) and field.default.mem_mb is None
    }
    assert without == NEEDED.keys()


@pytest.mark.parametrize("rule", NEEDED)
def test_the_hardware_section_overrides_it(rule: str) -> None:
    assert job_mb(experiment({rule: {"mem_mb": 123}}), rule) == 123
    assert job_mb(experiment({rule: {"threads": 2}}), rule) % STEP_MB == 0


@pytest.mark.parametrize("rule", PER_PART)
def test_a_job_of_a_part_asks_for_the_same_whatever_the_total(rule: str) -> None:
    small, large = (job_mb(experiment(train=total, test=total), rule) for total in (7000, 10**6))
    assert small == large
    assert job_mb(experiment(part_size=70_000, train=10**6), rule) > small


@pytest.mark.parametrize("rule", TOTAL)
def test_a_job_of_all_prompts_asks_for_more_where_there_are_more(rule: str) -> None:
    assert job_mb(experiment(train=10**6, test=10**6), rule) > job_mb(experiment(train=7000, test=7000), rule)


def test_the_questions_of_benchmarks_are_in_memory() -> None:
    benchmarks = [{"dataset": "owner/benchmark", "name": str(number)} for number in range(4)]
    assert job_mb(experiment(decontaminate=benchmarks), "collect_prompts") > job_mb(experiment(), "collect_prompts")


@pytest.mark.parametrize("rule", MEASURED)
def test_it_covers_what_was_measured_and_is_no_fantasy(rule: str) -> None:
    asked = job_mb(experiment(train=300_000, test=300_000), rule)
    assert MEASURED[rule] < asked < 4 * MEASURED[rule]


@pytest.mark.parametrize("rule", NEEDED)
def test_longer_texts_or_more_draws_take_no_less(rule: str) -> None:
    usual = experiment()
    responses = usual.responses.model_copy(update={"max_tokens": 4096, "draws": 16})
    assert job_mb(usual.model_copy(update={"responses": responses}), rule) >= job_mb(usual, rule)


def test_pairs_of_a_pool_hold_the_responses_of_all_its_policies() -> None:
    """The pairs that the third iteration is trained on are of dpo-2, of `base`, and of the `earlier` dpo-1."""
    config = experiment().model_dump(mode="json")
    config |= {"training": {"iterations": 3}, "variants": {"dpo": {"loss": {"name": "dpo", "beta": 0.1}}}}

    def megabytes(pool: list[str]) -> int:
        return job_mb(Experiment.model_validate({**config, "pairs": {"pool": pool}}), "build_pairs")

    one, two, three = (megabytes(["parent", "base", "earlier"][:count]) for count in (1, 2, 3))
    assert one == job_mb(experiment(), "build_pairs")
    assert one < two < three


def test_further_pairs_of_a_prompt_hold_its_tokens_again() -> None:
    """Nine more pairs of 7,000 prompts, each with the tokens of a prompt and two responses: half a gigabyte."""
    one = experiment()
    ten = one.model_copy(update={"pairs": one.pairs.model_copy(update={"choose": "all", "per_prompt": 10})})
    more = NEEDED["build_pairs"](ten) - NEEDED["build_pairs"](one)
    assert more == pytest.approx(9 * 7000 * 8 * (170 + 2 * 410), rel=0.1)
