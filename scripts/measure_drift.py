"""Measure how far a policy has drifted from `base`: the log-probabilities of its test responses under both."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch

from command_line import (
    add_model_flags,
    add_output_flag,
    add_policy_flag,
    add_prompts_flag,
    log_counts,
    parse_arguments,
    program_parser,
    run,
)
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.logprobs.drift import drift_rows, sampled_groups
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.responses import checked_logprobs
from rlhf.logprobs.schema import DRIFT, Drift
from rlhf.logprobs.settings import DriftSpec
from rlhf.machine.budgets import forward_budget
from rlhf.machine.choices import BudgetChoice
from rlhf.machine.device import granted_device
from rlhf.machine.memory import logprob_memory
from rlhf.machine.model_shapes import known_shape
from rlhf.machine.progress import Progress
from rlhf.models.commits import common_commits
from rlhf.models.policies import load_policy
from rlhf.models.source import model_location, resolved_revision
from rlhf.prompts.schema import read_part
from rlhf.responses.schema import read_responses
from rlhf.tokens.prompt_group import PromptGroup


class Location(NamedTuple):
    """A model's folder, or its name and revision on the hub."""

    name: str
    revision: str | None


def main() -> None:
    parser = program_parser(__doc__, DriftSpec)
    add_prompts_flag(parser)
    parser.add_argument("--responses", type=Path, nargs="+", required=True, help="the policy's test responses, Parquet")
    add_policy_flag(parser)
    parser.add_argument("--base", type=Path, nargs="?", help="the folder of `base` (default: the spec's model)")
    add_output_flag(parser, "the log-probabilities")
    add_model_flags(parser)
    arguments, spec = parse_arguments(parser, DriftSpec)
    inputs = checked_inputs(prompts=arguments.prompts, responses=arguments.responses, policy=arguments.policy)
    inputs |= checked_inputs(base=arguments.base)
    base = Location(*model_location(arguments.base, spec.base, arguments.revisions))
    policy = Location(*model_location(arguments.policy, spec.base, arguments.revisions))
    commit = resolved_revision(*base)
    common_commits(arguments.responses, {"policy": resolved_revision(*policy)})

    responses = pa.concat_tables(map(read_responses, arguments.responses))
    groups = sampled_groups(read_part(arguments.prompts, spec.rows), responses)
    device = granted_device(arguments.gpus, arguments.threads)
    under_policy, under_base = (
        response_logprobs(model, groups, spec, device, arguments.token_budget) for model in (policy, base)
    )
    rows = drift_rows(responses, under_policy, under_base)
    log_counts(arguments.output, Drift.of(rows)._asdict())
    DRIFT.write(arguments.output, rows, provenance(__file__, spec, inputs, model_revision=commit))


def response_logprobs(
    model: Location, groups: list[PromptGroup], spec: DriftSpec, device: torch.device, asked: BudgetChoice
) -> list[float]:
    """Log-probability of each group's only response, computed as `compute_logprobs` does."""
    shape = known_shape(*model)
    memory = None if shape is None else partial(logprob_memory, shape, spec.precision)
    longest = max(group.tokens for group in groups)
    budget = forward_budget(asked, device, memory, longest, "responses.max_tokens")
    policy = load_policy(*model, "float32", device).requires_grad_(False)
    wrapped = checked_logprobs(policy, spec.temperature)
    store_frozen_matrices(policy, spec.precision)
    with Progress(len(groups), "responses", "log-probabilities") as progress:
        return [found for (found,) in group_logprobs(wrapped, groups, spec.precision, budget, progress)]


if __name__ == "__main__":
    run(main)
