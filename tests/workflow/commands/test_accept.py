"""Which jobs a change leaves alone."""

import dataclasses
from pathlib import Path

from workflow.commands.accept import unaffected
from workflow.dry_run import PlannedJob

EMPTY = PlannedJob(
    rule="", position=0, policy="", part="", inputs={}, outputs=(), spec="{}", code="", reasons=(), changes=(), gpus=0,
    memory_mb=0, minutes=0, record=Path(),
)  # fmt: skip


def job(rule: str, policy: str, *inputs: PlannedJob) -> PlannedJob:
    """A job that reads what others make."""
    read = {"files": tuple(path for one in inputs for path in one.outputs)}
    return dataclasses.replace(EMPTY, rule=rule, policy=policy, inputs=read, outputs=(Path(f"{policy}/{rule}"),))


def test_what_differs_and_what_follows_from_it_is_not_kept() -> None:
    pairs = job("build_pairs", "base")
    rebel, simpo = (job("train_policy", f"{variant}-1", pairs) for variant in ("rebel", "simpo"))
    answers = job("generate_responses", "rebel-1", rebel)
    own_pairs = job("build_pairs", "rebel-1", answers)
    second = job("train_policy", "rebel-2", own_pairs)
    evaluation = job("evaluate_policy", "simpo-1", simpo)
    everything = [pairs, rebel, simpo, answers, own_pairs, second, evaluation]
    assert unaffected(everything, [rebel]) == [pairs, simpo, evaluation]
    assert unaffected(everything, []) == everything
    assert unaffected(everything, [pairs]) == []
