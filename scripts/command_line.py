"""What the programs in this folder share: the `--spec` flag, and errors that are sentences."""

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

# Libraries read it when they are imported: a program imports this module before any of them.
switch_off_reports()

INTERRUPTED = 128 + signal.SIGINT
"""The exit status that shells give a program that Ctrl-C ended."""
AnySettings = TypeVar("AnySettings", bound=Settings)


def program_parser(description: str | None, spec: type[Settings]) -> argparse.ArgumentParser:
    """A parser with `--spec`, whose help lists the keys of `spec`."""
    keys = "\n".join(f"  {name}: {field.description or ''}" for name, field in spec.model_fields.items())
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"keys of --spec:\n{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--spec", required=True, help="the settings: inline JSON, or a file with JSON")
    return parser


def takes_arguments_of_snakemake(description: str | None) -> list[str]:
    """The arguments of a program that hands them on to Snakemake; with `--help`, what the program does."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [arguments of snakemake]",
        description=description,
        epilog=(
            "All arguments are those of the run that is meant, for example --configfile config/mine.yaml --cores 8 "
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
    """`--gpus`, `--threads`: hardware never changes a result beyond rounding."""
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that this run must have; 0: the CPU (default)")
    parser.add_argument("--granted-gpus", type=int, help="GPUs that Snakemake counted for it, which may be fewer")
    parser.add_argument("--threads", type=int, default=1, help="compute threads (default 1)")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """What a program that computes with a model takes: `--token-budget`, `--revisions` and the hardware flags."""
    add_token_budget_flag(parser)
    add_revisions_flag(parser)
    add_hardware_flags(parser)


def add_revisions_flag(parser: argparse.ArgumentParser) -> None:
    """`--revisions`: which commits of the hub the experiment takes is no setting, and reruns nothing."""
    parser.add_argument(
        "--revisions",
        type=Path,
        help="the experiment's revisions.yaml: commits of what the spec has no revision of (default: the newest)",
    )


def add_token_budget_flag(parser: argparse.ArgumentParser) -> None:
    """`--token-budget`: a number, or `auto`."""

    def budget(text: str) -> int | str:
        return text if text == "auto" else int(text)

    parser.add_argument(
        "--token-budget",
        type=budget,
        default="auto",
        help="tokens in one forward pass; auto (default): as many as fit the GPU, 16384 on the CPU",
    )


def check_granted_gpus(arguments: argparse.Namespace) -> None:
    """Raise UserError where `--resources gpu=N` is less than the job needs: Snakemake starts it all the same."""
    granted = arguments.granted_gpus
    if granted is not None and granted < arguments.gpus:
        raise UserError(
            f"this job asks for {arguments.gpus} GPU(s), and Snakemake grants it {granted}: raise the limit of "
            f"--resources gpu={granted}, or ask for fewer (`gpu` of its rule under `hardware`; 0 is the CPU)"
        )


def read_spec(text: str, spec: type[AnySettings]) -> AnySettings:
    """Parse `--spec`: inline JSON where it starts with a brace, else the file of that name."""
    try:
        return spec.model_validate_json(text if text.lstrip().startswith("{") else Path(text).read_text())
    except OSError as error:
        raise UserError(f"--spec {text}: {error.strerror}. Give JSON in braces, or a file that holds it.") from error
    except ValidationError as error:
        raise UserError(f"--spec: {_in_words(error)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--spec {text}: not a text file in UTF-8: {error}") from error


def _in_words(error: ValidationError) -> str:
    """Each wrong key, what is wrong with it, and what it was."""
    return "; ".join(
        f"{'.'.join(map(str, wrong['loc'])) or 'the whole'}: {wrong['msg']} (it was {wrong['input']!r})"
        for wrong in error.errors(include_url=False, include_context=False)
    )


def run(main: Callable[[], None]) -> None:
    """Run a program: log lines to standard error, no traceback of user errors, full disks and Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # huggingface_hub's requests, a line each
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept; the same line goes on from there", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if no_room(error) is None:
            raise
        sys.exit(f"error: {error}. {REMEDY}")
