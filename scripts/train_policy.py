"""Train a policy on pairs or examples: those of its parent, and of earlier iterations where there are any."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from command_line import add_model_flags, parse_arguments, program_parser, run
from rlhf.base.errors import UserError
from rlhf.base.files.folders import whole_folder
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.machine.choices import Activations, Strategy, Tracker, check_strategy
from rlhf.machine.device import granted_device
from rlhf.machine.memory import TrainingSetup
from rlhf.machine.model_shapes import known_shape
from rlhf.models.commits import common_commits
from rlhf.models.policies import load_policy
from rlhf.models.source import model_location, resolved_revision
from rlhf.models.tokenizers import check_vocabulary, load_tokenizer
from rlhf.pairs.paired_prompts import PairedPrompts
from rlhf.training.loop import train
from rlhf.training.model import trainable
from rlhf.training.processes.accelerator import make_accelerator, release
from rlhf.training.processes.failures import recorded
from rlhf.training.processes.launcher import launch, leave, leaving_to_start_again
from rlhf.training.processes.memory import common_budget, training_setup, warn_of_short_notice
from rlhf.training.processes.shared_table import once_per_machine
from rlhf.training.schema import TRAINING
from rlhf.training.settings import SAVED_STATES, TrainSpec, check_optimizer
from rlhf.training.state.checkpoint import describe_policy, save_policy
from rlhf.training.state.claim import claimed
from rlhf.training.state.states import TrainingStates, identity_of, state_layout
from rlhf.training.trackers import check_tracker, start_tracking
from rlhf.training.units.reading import Rows, read_rows
from rlhf.training.validation import check_reference, validate_merged

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedTokenizerBase

FILES = ("pairs", "examples", "logprobs", "validation_pairs", "validation_examples", "validation_logprobs")
EARLIER = ("earlier_pairs", "earlier_examples", "earlier_logprobs")


class Start(NamedTuple):
    """The policy that training starts from, before its weights are loaded."""

    name: str
    """Its folder, or its name on the hub."""
    revision: str | None
    commit: str | None
    """Of the hub's repository; None for a folder."""
    tokenizer: PreTrainedTokenizerBase


def main() -> None:
    arguments, spec = parse_arguments(make_parser(), TrainSpec)
    check_hardware(arguments, spec)
    states_folder = arguments.checkpoint.with_name(SAVED_STATES)
    if arguments.processes > 1:
        seconds = arguments.stop_seconds
        launch(arguments.processes, arguments.nodes, arguments.gpus, arguments.threads, seconds, states_folder)
    start = find_start(arguments, spec)
    reference = find_reference(arguments, spec)
    origin = check_inputs(arguments, spec, start, reference)
    accelerator = start_accelerator(arguments, spec)
    given = {name: getattr(arguments, name) for name in (*FILES, *EARLIER)}
    rows, validation_rows = read_rows(given, spec, partial(once_per_machine, accelerator=accelerator))
    setup = training_setup(spec, arguments.strategy, arguments.processes, arguments.activations)
    budget = plan_memory(arguments, spec, start, setup, rows, validation_rows, accelerator)
    if reference is not None:
        check_reference(*reference, rows, validation_rows, spec, accelerator)
    policy = load_policy(start.name, start.revision, "float32", accelerator.device)
    model = trainable(policy, spec, setup)
    layout = state_layout(arguments.strategy, arguments.processes)
    states = TrainingStates(states_folder, identity_of(origin), arguments.save_seconds, layout)
    with claimed(states_folder, accelerator), leaving_to_start_again():
        metrics, weights, validation = train(model, rows, validation_rows, spec, accelerator, budget, states)
        release(accelerator)
        if accelerator.is_main_process:
            with whole_folder(arguments.checkpoint) as folder:
                save_policy(folder, policy, weights, start.tokenizer, spec)
                del policy, model, weights  # frees their memory: the merged policy is loaded once more
                if spec.recipe.lora:
                    merged = validate_merged(folder, validation_rows, spec, budget, accelerator.device, validation)
                    metrics[-1].update(merged)
                count = len(rows.pairs) if isinstance(rows, PairedPrompts) else len(rows)
                describe_policy(folder, spec, count, metrics, origin)
            TRAINING.write(arguments.metrics, metrics, origin)
            states.keep_last()
    if arguments.processes > 1:
        leave()


def make_parser() -> ArgumentParser:
    parser = program_parser(__doc__, TrainSpec)
    parser.add_argument("--policy", type=Path, nargs="?", help="the folder of the start (default: the spec's model)")
    parser.add_argument("--reference", type=Path, nargs="?", help="the folder of the reference, if it is not the start")
    add_row_flags(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="the folder of the new policy")
    parser.add_argument("--metrics", type=Path, required=True, help="the training metrics, Parquet")
    parser.add_argument(
        "--save-seconds",
        type=int,
        default=1800,
        help="seconds between saves of the state, in `training_state` beside the checkpoint, to resume a killed run",
    )
    parser.add_argument(
        "--stop-seconds",
        type=int,
        default=300,
        help="seconds between SIGTERM, after which a process finishes its step and saves its state, and SIGKILL",
    )
    parser.add_argument(
        "--activations", choices=get_args(Activations), default="keep", help="activations for the backward pass"
    )
    parser.add_argument("--processes", type=int, default=1, help="number of training processes (default 1)")
    parser.add_argument("--nodes", type=int, default=1, help="nodes of the Slurm job that they run on (default 1)")
    parser.add_argument(
        "--strategy", choices=get_args(Strategy), default="single", help="how the processes divide the work"
    )
    parser.add_argument(
        "--tracker", choices=get_args(Tracker), default="none", help="also send the metrics to this tracker"
    )
    add_model_flags(parser)
    return parser


def add_row_flags(parser: ArgumentParser) -> None:
    """What is learned from: pairs or examples, whichever the loss needs, and their reference log-probabilities."""
    for name, whose in (("", "the parent's"), ("earlier-", "earlier iterations'"), ("validation-", "test prompts'")):
        for rows in ("pairs", "examples"):
            parser.add_argument(f"--{name}{rows}", type=Path, nargs="*", default=[], help=f"{whose} {rows}, Parquet")
        parser.add_argument(
            f"--{name}logprobs", type=Path, nargs="*", default=[], help="their log-probabilities, in the same order"
        )


def check_hardware(arguments: Namespace, spec: TrainSpec) -> None:
    """Raise UserError for hardware that the training cannot run on, before anything is loaded."""
    check_strategy(arguments.strategy, arguments.processes, cpu=arguments.gpus == 0)
    check_optimizer(spec.recipe, arguments.strategy)
    check_tracker(arguments.tracker)


def find_start(arguments: Namespace, spec: TrainSpec) -> Start:
    """Where the start is, and its tokenizer, which must fit its embeddings."""
    location = model_location(arguments.policy, spec.model, arguments.revisions)
    tokenizer = load_tokenizer(*location)
    check_vocabulary(tokenizer, *location)
    return Start(*location, resolved_revision(*location), tokenizer)


def find_reference(arguments: Namespace, spec: TrainSpec) -> tuple[str, str | None] | None:
    """Name and revision of the reference; None if training starts from it.

    Raises:
        UserError: there is none, or --reference gives one that the spec does not ask for.
    """
    if not spec.starts_from_reference:
        return model_location(arguments.reference, spec.reference_model, arguments.revisions)
    if arguments.reference is not None:
        raise UserError("--reference: by --spec the training starts from its reference, or its loss has none")
    return None


def check_inputs(
    arguments: Namespace, spec: TrainSpec, start: Start, reference: tuple[str, str | None] | None
) -> dict[str, Any]:
    """The provenance of the new policy.

    Raises:
        UserError: an input is damaged or stale, or the inputs come from different revisions of a model.
    """
    files = {name: getattr(arguments, name) for name in FILES}
    earlier = {name: getattr(arguments, name) for name in EARLIER}
    under = arguments.policy if reference is None else arguments.reference
    checked_inputs(policy=under, **files)
    checked_inputs(policy=under, **{name.removeprefix("earlier_"): paths for name, paths in earlier.items()})
    checked_inputs(policy=arguments.policy)
    inputs = {"policy": arguments.policy, "reference": reference and arguments.reference, **files, **earlier}
    # Only `base` is from the hub, so the start and the reference have one commit between them.
    commits = {"policy": start.commit or (resolved_revision(*reference) if reference else None)}
    common_commits(chain(*files.values(), *earlier.values()), commits)
    facts = {"model_revision": start.commit, "margin": spec.loss.margin_meaning}
    if reference is not None:
        facts["reference_revision"] = resolved_revision(*reference)
    given = {name: paths for name, paths in inputs.items() if paths}
    return provenance(__file__, spec, given, [spec.loss.module], **facts)


def start_accelerator(arguments: Namespace, spec: TrainSpec) -> Accelerator:
    """Join this process with the others on its device, set its seeds, and start the tracker."""
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


def plan_memory(
    arguments: Namespace,
    spec: TrainSpec,
    start: Start,
    setup: TrainingSetup,
    rows: Rows,
    validation_rows: Rows,
    accelerator: Accelerator,
) -> int:
    """The token budget, and a warning if the state could not be saved in time.

    Raises:
        UserError: the training does not fit the GPU of this process.
    """
    shape = known_shape(start.name, start.revision)
    longest = max(rows.longest, validation_rows.longest)
    budget = common_budget(arguments.token_budget, shape, setup, longest, accelerator)
    if shape is not None and accelerator.is_main_process:
        tokens = spec.recipe.batch_size * rows.largest, len(validation_rows) * validation_rows.largest
        warn_of_short_notice(arguments.stop_seconds, shape, setup, *tokens, accelerator.device)
    return budget


if __name__ == "__main__":
    run(recorded(main))
