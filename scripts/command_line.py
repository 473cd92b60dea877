"""What the programs in this folder share: the `--spec` flag, hardware flags, and errors without a traceback."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from rlhf.base.errors import UserError
from rlhf.base.files.full_disks import REMEDY, no_room
from rlhf.base.settings import Settings, canonical_json
from rlhf.base.telemetry import switch_off_reports
from rlhf.machine.choices import DEFAULT_BUDGET

# Libraries read this setting on import, so every program imports this module before any of them.
switch_off_reports()

INTERRUPTED = 128 + signal.SIGINT
"""The exit status of a program ended by Ctrl-C, as shells define it."""
AnySettings = TypeVar("AnySettings", bound=Settings)


def program_parser(
    description: str | None, spec: type[Settings], *, default: str | None = None
) -> argparse.ArgumentParser:
    """A parser with `--spec`, whose `--help` lists the keys of `spec`; it is required unless there is a default."""
    keys = "\n".join(f"  {name}: {field.description or ''}" for name, field in spec.model_fields.items())
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"keys of --spec:\n{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--spec",
        required=default is None,
        default=default,
        help="the settings: inline JSON, or a file with JSON" + ("" if default is None else f" (default {default})"),
    )
    return parser


def takes_arguments_of_snakemake(description: str | None) -> list[str]:
    """The arguments of a program that passes them on to Snakemake; `--help` prints what the program does."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [arguments of snakemake]",
        description=description,
        epilog=(
            "Pass the same arguments as for the run in question, for example --configfile config/mine.yaml --cores 8 "
            '(with make: ARGS="..."). `snakemake --help` lists them.'
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if {"-h", "--help"} & set(sys.argv[1:]):
        parser.print_help()
        sys.exit()
    return sys.argv[1:]


def add_prompts_flag(parser: argparse.ArgumentParser) -> None:
    """`--prompts`: all prompts of the experiment; `rows` in the spec selects the part."""
    parser.add_argument("--prompts", type=Path, required=True, help="prompts.parquet")


def add_policy_flag(parser: argparse.ArgumentParser) -> None:
    """`--policy`: the folder of a policy that a rule trained."""
    parser.add_argument("--policy", type=Path, nargs="?", help="the policy's folder (default: the spec's model)")


def add_output_flag(parser: argparse.ArgumentParser, what: str) -> None:
    """`--output`: the Parquet file that the program writes."""
    parser.add_argument("--output", type=Path, required=True, help=f"{what}, Parquet")


def log_counts(where: object, counts: Mapping[str, object], level: int = logging.INFO) -> None:
    """Log what a program counted, as JSON on one line."""
    logging.log(level, "%s: %s", where, canonical_json(counts))


def add_hardware_flags(parser: argparse.ArgumentParser) -> None:
    """`--gpus`, `--granted-gpus`, `--threads`: hardware never changes a result beyond rounding."""
    parser.add_argument("--gpus", type=int, default=0, help="number of GPUs to use; 0 (default) runs on the CPU")
    parser.add_argument(
        "--granted-gpus",
        type=int,
        help="number of GPUs that Snakemake granted; the program stops if they are fewer than --gpus",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for the computation (default 1)")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a program that runs a model: `--token-budget`, `--revisions` and the hardware flags."""
    add_token_budget_flag(parser)
    add_revisions_flag(parser)
    add_hardware_flags(parser)


def add_revisions_flag(parser: argparse.ArgumentParser) -> None:
    """`--revisions`: the hub commits of an experiment are not part of its settings, so they rerun nothing."""
    parser.add_argument(
        "--revisions",
        type=Path,
        help="the experiment's revisions.yaml: the commits to use where the spec has no revision (default: the newest)",
    )


def add_token_budget_flag(parser: argparse.ArgumentParser) -> None:
    """`--token-budget`: a number, or `auto`."""

    def budget(text: str) -> int | str:
        return text if text == "auto" else int(text)

    parser.add_argument(
        "--token-budget",
        type=budget,
        default="auto",
        help=f"tokens in one forward pass. auto (default): as many as fit on the GPU, or {DEFAULT_BUDGET} on a CPU. A "
        "pack on a CPU never holds more than 2048. vLLM ignores this flag: it has a budget of its own",
    )


def parse_arguments(parser: argparse.ArgumentParser, spec: type[AnySettings]) -> tuple[argparse.Namespace, AnySettings]:
    """The arguments of this program, and the settings in its `--spec`.

    Raises:
        UserError: `--spec` is not what `spec` describes, or Snakemake granted fewer GPUs than the job needs.
    """
    arguments = parser.parse_args()
    settings = _read_spec(arguments.spec, spec)
    if "granted_gpus" in arguments:
        _check_granted_gpus(arguments.gpus, arguments.granted_gpus)
    return arguments, settings


def _check_granted_gpus(asked: int, granted: int | None) -> None:
    """Raise UserError if `--resources gpu=N` is less than the job needs: Snakemake starts it all the same."""
    if granted is not None and granted < asked:
        raise UserError(
            f"this job asks for {asked} GPU(s), and Snakemake grants it {granted}: raise the limit "
            f"--resources gpu={granted}, or ask for fewer (`gpu` of its rule under `hardware`; 0 runs on the CPU)"
        )


def _read_spec(text: str, spec: type[AnySettings]) -> AnySettings:
    """Parse `--spec`: inline JSON if it starts with a brace, otherwise the name of a JSON file."""
    try:
        return spec.model_validate_json(text if text.lstrip().startswith("{") else Path(text).read_text())
    except OSError as error:
        raise UserError(f"--spec {text}: {error.strerror}. Give JSON in braces, or the name of a JSON file.") from error
    except ValidationError as error:
        raise UserError(f"--spec: {_in_words(error)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--spec {text}: not a UTF-8 text file: {error}") from error


def _in_words(error: ValidationError) -> str:
    """Each wrong key, what is wrong with it, and its value."""
    return "; ".join(
        f"{'.'.join(map(str, wrong['loc'])) or 'the whole spec'}: {wrong['msg']} (it was {wrong['input']!r})"
        for wrong in error.errors(include_url=False, include_context=False)
    )


def run(main: Callable[[], None]) -> None:
    """Run a program: logs go to standard error; user errors, full disks and Ctrl-C show no traceback."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs every request of huggingface_hub
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: finished work is kept; run the same command again to resume", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if no_room(error) is None:
            raise
        sys.exit(f"error: {error}. {REMEDY}")
