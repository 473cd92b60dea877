"""Train a policy on the preference pairs of its parent."""

from __future__ import annotations

import hashlib
import logging
from argparse import ArgumentParser, Namespace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from command_line import add_model_flags, parse_arguments, program_parser, run
from rlhf.base.files.folders import whole_folder
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.base.settings import canonical_json
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.responses import ResponseLogprobs, checked_logprobs, checkpoint_activations
from rlhf.machine.budgets import training_budget
from rlhf.machine.choices import Activations, BudgetChoice, Strategy, Tracker, check_strategy
from rlhf.machine.device import granted_device
from rlhf.machine.memory import ROUNDS_FROZEN_WEIGHTS, TrainingSetup
from rlhf.machine.model_shapes import ModelShape, known_shape
from rlhf.machine.saving import short_notice
from rlhf.models.commits import common_commits
from rlhf.models.policies import load_policy
from rlhf.models.source import model_location, resolved_revision
from rlhf.models.tokenizers import check_vocabulary, load_tokenizer
from rlhf.tokens.token_budget import StartAgainError
from rlhf.training.adapters import add_adapters
from rlhf.training.compute_rate import peak_rate
from rlhf.training.data import read_pairs
from rlhf.training.loop import train
from rlhf.training.processes.failures import recorded
from rlhf.training.processes.shared_table import once_per_machine
from rlhf.training.processes.strategies import launch, leave, make_accelerator, release
from rlhf.training.schema import TRAINING
from rlhf.training.settings import SAVED_STATES, TrainSpec, check_optimizer
from rlhf.training.state.checkpoint import describe_policy, save_policy
from rlhf.training.state.claim import claimed
from rlhf.training.state.states import TrainingStates, state_layout
from rlhf.training.trackers import check_tracker, start_tracking
from rlhf.training.validation import log_kept, validate_saved

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel

LOGGER = logging.getLogger("train_policy")
FILES = ("pairs", "logprobs", "validation_pairs", "validation_logprobs")


def main() -> None:
    arguments, spec = parse_arguments(make_parser(), TrainSpec)
    check_hardware(arguments, spec)
    states_folder = arguments.checkpoint.with_name(SAVED_STATES)
    if arguments.processes > 1:
        seconds = arguments.stop_seconds
        launch(arguments.processes, arguments.nodes, arguments.gpus, arguments.threads, seconds, states_folder)
    parent = model_location(arguments.policy, spec.model, arguments.revisions)
    tokenizer = load_tokenizer(*parent)
    check_vocabulary(tokenizer, *parent)
    commit = resolved_revision(*parent)
    files = {name: getattr(arguments, name) for name in FILES}
    inputs = checked_inputs(policy=arguments.policy, **files)
    common_commits(chain(*files.values()), {"policy": commit})
    accelerator = start_accelerator(arguments, spec)
    share = partial(once_per_machine, accelerator=accelerator)
    pairs = read_pairs(arguments.pairs, arguments.logprobs, spec, share)
    validation_pairs = read_pairs(arguments.validation_pairs, arguments.validation_logprobs, spec, share)
    longest = max(pairs.longest, validation_pairs.longest)
    shape, setup = known_shape(*parent), training_setup(arguments, spec)
    budget = token_budget(arguments.token_budget, shape, setup, longest, accelerator)
    if shape is not None and accelerator.is_main_process:
        tokens = spec.recipe.batch_size * pairs.longest, len(validation_pairs) * validation_pairs.longest
        if warning := short_notice(arguments.stop_seconds, shape, setup, *tokens, peak_rate(accelerator.device)):
            LOGGER.warning(warning)
    model = trainable(load_policy(*parent, "float32", accelerator.device), arguments, spec)
    origin = provenance(__file__, spec, inputs, [spec.loss.module], model_revision=commit)
    identity = hashlib.sha256(canonical_json(origin).encode()).hexdigest()[:16]
    layout = state_layout(arguments.strategy, arguments.processes)
    states = TrainingStates(states_folder, identity, arguments.save_seconds, layout)
    with claimed(states_folder, accelerator):
        try:
            metrics, weights, validation = train(model, pairs, validation_pairs, spec, accelerator, budget, states)
        except StartAgainError:
            leave(1)  # the others wait for this process, and taking it down could wait for them
        release(accelerator)
        if accelerator.is_main_process:
            with whole_folder(arguments.checkpoint) as folder:
                save_policy(folder, model.policy, weights, tokenizer, spec)
                if spec.recipe.lora:  # what they are merged to is another policy than the one that was validated
                    del model, weights
                    merged = validate_saved(folder, validation_pairs, spec, budget, accelerator.device)
                    metrics[-1].update(merged.metrics())
                    if validation:
                        log_kept(merged, validation)
                describe_policy(folder, spec, len(pairs), metrics, origin)
            TRAINING.write(arguments.metrics, metrics, origin)
            states.keep_last()
    if arguments.processes > 1:
        leave()


def make_parser() -> ArgumentParser:
    parser = program_parser(__doc__, TrainSpec)
    parser.add_argument("--policy", type=Path, nargs="?", help="the parent's folder (default: the spec's model)")
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="the parent's pairs, Parquet")
    parser.add_argument("--logprobs", type=Path, nargs="*", default=[], help="their log-probabilities, file by file")
    parser.add_argument("--validation-pairs", type=Path, nargs="+", required=True, help="pairs of test prompts")
    parser.add_argument("--validation-logprobs", type=Path, nargs="*", default=[], help="their log-probabilities")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the folder of the new policy")
    parser.add_argument("--metrics", type=Path, required=True, help="the training metrics, Parquet")
    parser.add_argument(
        "--save-seconds",
        type=int,
        default=1800,
        help="save the state this often, in `training_state` beside the checkpoint: a killed run goes on from there",
    )
    parser.add_argument(
        "--stop-seconds",
        type=int,
        default=300,
        help="processes that are asked to end (SIGTERM) have so long to end their step and save, then they are killed",
    )
    parser.add_argument("--activations", choices=get_args(Activations), default="keep", help="for the backward pass")
    parser.add_argument("--processes", type=int, default=1, help="processes that share the work (default 1)")
    parser.add_argument("--nodes", type=int, default=1, help="machines of the Slurm job that they run on (default 1)")
    parser.add_argument("--strategy", choices=get_args(Strategy), default="single", help="how they share it")
    parser.add_argument("--tracker", choices=get_args(Tracker), default="none", help="where metrics go too")
    add_model_flags(parser)
    return parser


def check_hardware(arguments: Namespace, spec: TrainSpec) -> None:
    """Raise UserError for hardware that the training cannot run on, before anything is loaded."""
    check_strategy(arguments.strategy, arguments.processes, cpu=arguments.gpus == 0)
    check_optimizer(spec.recipe, arguments.strategy)
    check_tracker(arguments.tracker)


def start_accelerator(arguments: Namespace, spec: TrainSpec) -> Accelerator:
    """This process's device, and what joins it with the others; seeds and tracker are set."""
    from accelerate.utils import set_seed  # not before command_line: it imports huggingface_hub

    granted_device(arguments.gpus // arguments.nodes, arguments.threads)
    accelerator = make_accelerator(
        arguments.strategy,
        arguments.processes,
        spec.precision,
        spec.recipe.max_grad_norm,
        cpu=arguments.gpus == 0,
        log_with=None if arguments.tracker == "none" else arguments.tracker,
        project_dir=arguments.checkpoint.parent,
    )
    start_tracking(accelerator, arguments.tracker, arguments.checkpoint.absolute().parents[1].name, spec)
    set_seed(spec.seed % 2**32)
    return accelerator


def trainable(policy: PreTrainedModel, arguments: Namespace, spec: TrainSpec) -> ResponseLogprobs:
    """The policy as it is trained: with adapters, recomputation and rounded frozen weights where they are asked for."""
    if spec.recipe.lora:
        add_adapters(policy, spec.recipe.lora)
    if arguments.activations == "recompute":
        checkpoint_activations(policy)
    model = checked_logprobs(policy, spec.temperature)
    if arguments.strategy in ROUNDS_FROZEN_WEIGHTS:
        store_frozen_matrices(policy, spec.precision)
    return model


def training_setup(arguments: Namespace, spec: TrainSpec) -> TrainingSetup:
    """What decides on the memory of the training, and on the size of its states."""
    return TrainingSetup(
        strategy=arguments.strategy,
        processes=arguments.processes,
        activations=arguments.activations,
        precision=spec.precision,
        optimizer=spec.recipe.optimizer,
        lora_rank=spec.recipe.lora.rank if spec.recipe.lora else None,
    )


def token_budget(
    asked: BudgetChoice, shape: ModelShape | None, setup: TrainingSetup, longest: int, accelerator: Accelerator
) -> int:
    """Tokens of a pack, the same in all processes; the longest pair has `longest`.

    Raises:
        UserError: the training does not fit the GPU of this process.
    """
    from accelerate.utils import gather_object

    found = training_budget(asked, accelerator.device, shape, setup, longest)
    return min(gather_object([found]))


if __name__ == "__main__":
    run(recorded(main))
