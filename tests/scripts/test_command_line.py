"""`--spec`, and errors that are sentences, in a real program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf.base.telemetry import REPORTS_OFF

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROGRAMS = sorted(path for path in SCRIPTS.glob("*.py") if "from command_line import" in path.read_text())
PROGRAM = '''"""Print the spec."""
from command_line import add_hardware_flags, parse_arguments, program_parser, run
from rlhf.base.errors import UserError
from rlhf.base.settings import Settings


class Inner(Settings):
    eta: float = 1.0


class DemoSpec(Settings):
    draws: int
    """Responses per prompt, 100 % of them."""
    inner: Inner = Inner()
    """More."""


def main() -> None:
    parser = program_parser(__doc__, DemoSpec)
    add_hardware_flags(parser)
    arguments, spec = parse_arguments(parser, DemoSpec)
    if spec.draws == 13:
        raise UserError("draws is 13: take another")
    if spec.draws == 14:
        raise ValueError("a defect")
    print(spec.draws, spec.inner.eta, arguments.gpus, arguments.threads)


run(main)
'''


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "demo.py"
    path.write_text(PROGRAM)
    return path


def call(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    return subprocess.run(
        [sys.executable, str(program), *arguments], capture_output=True, text=True, env=environment, cwd=program.parent
    )


def test_an_inline_spec(program: Path) -> None:
    done = call(program, "--spec", ' {"draws": 5, "inner": {"eta": 2.5}}', "--threads", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "5 2.5 0 3\n", "")


def test_a_spec_from_a_file(program: Path) -> None:
    (program.parent / "spec.json").write_text(json.dumps({"draws": 7}))
    done = call(program, "--spec", "spec.json", "--gpus", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 1.0 2 1\n", "")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ('{"draws": 5', "error: --spec: the whole spec: Invalid JSON"),
        ('{"drawz": 5}', "drawz: Extra inputs are not permitted (it was 5)"),
        ('{"drawz": 5}', "draws: Field required"),
        ('{"draws": "5"}', "error: --spec: draws: Input should be a valid integer (it was '5')\n"),
        (
            '{"draws": 5, "inner": {"eta": "a"}}',
            "--spec: inner.eta: Input should be a valid number (it was 'a')",
        ),
        ("no_such_file.json", "error: --spec no_such_file.json: No such file or directory. Give JSON in braces"),
        (".", "error: --spec .: Is a directory"),
        ("binary", "error: --spec binary: not a UTF-8 text file"),
        ('{"draws": 13}', "error: draws is 13: take another\n"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(program: Path, spec: str, expected: str) -> None:
    (program.parent / "binary").write_bytes(b"\xff\xfe\x00")
    done = call(program, "--spec", spec)
    assert done.returncode == 1
    assert done.stdout == ""
    assert expected in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_bug_keeps_its_traceback(program: Path) -> None:
    done = call(program, "--spec", '{"draws": 14}')
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ValueError: a defect" in done.stderr


def test_help_lists_the_keys_of_the_spec(program: Path) -> None:
    done = call(program, "--help")
    assert done.returncode == 0
    assert "Print the spec." in done.stdout
    assert "  draws: Responses per prompt, 100 % of them.\n  inner: More." in done.stdout
    assert "--gpus" in done.stdout


def test_without_a_spec(program: Path) -> None:
    done = call(program)
    assert done.returncode == 2
    assert "--spec" in done.stderr


SITE_CUSTOMIZE = """
import atexit, importlib, json, os, sys

NAME = "huggingface_hub.constants"
LIBRARIES = ("vllm", "ray", "wandb")


def tell():
    imported = [library for library in LIBRARIES if library in sys.modules]
    variables = dict(os.environ)
    read = importlib.import_module(NAME).HF_HUB_DISABLE_TELEMETRY
    print(json.dumps({"off": read, "variables": variables, "imported": imported}), flush=True)


class AtItsFirstImport:
    def find_spec(self, name, path, target=None):
        if name == NAME:
            sys.meta_path.remove(self)
            tell()
            os._exit(0)  # what huggingface_hub read is settled: the rest of the program would cost seconds


sys.meta_path.insert(0, AtItsFirstImport())
atexit.register(tell)
"""
"""Python runs it before a program: it tells what huggingface_hub reads where the program imports it, now or later."""


def what_the_hub_library_reads(program: Path, folder: Path, **variables: str) -> dict[str, Any]:
    (folder / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    unset = ("DISABLE_TELEMETRY", *REPORTS_OFF)
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    environment = {**kept, "PYTHONPATH": str(folder), **variables}
    done = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True, env=environment)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_no_program_reports_to_the_hub(program: Path, tmp_path: Path) -> None:
    """Nor to anybody else: the variables are set before any library that reads them is imported."""
    told = what_the_hub_library_reads(program, tmp_path)
    assert told["off"] is True
    assert {name: told["variables"].get(name) for name in REPORTS_OFF} == REPORTS_OFF
    assert told["imported"] == []


def test_the_users_own_choice_of_telemetry_counts(tmp_path: Path) -> None:
    wanted = {"HF_HUB_DISABLE_TELEMETRY": "0", "DO_NOT_TRACK": "0"}
    told = what_the_hub_library_reads(SCRIPTS / "prefetch.py", tmp_path, **wanted)
    assert told["off"] is False
    assert {name: told["variables"][name] for name in wanted} == wanted


def test_all_programs_are_looked_at() -> None:
    assert {"train_policy", "generate_responses", "prefetch", "train_tiny_policy"} <= {p.stem for p in PROGRAMS}


@pytest.mark.parametrize(
    ("name", "does"),
    [
        ("plan", "Show what a run would do and why"),
        ("accept", "Keep existing results after a change"),
        ("resume", "Resume after an interruption"),
    ],
)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_commands_that_pass_on_arguments_say_what_they_do(name: str, does: str, flag: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"workflow.commands.{name}", flag, "--cores", "2"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert does in done.stdout
    assert "arguments of snakemake" in done.stdout
    assert "--configfile" in done.stdout


def test_an_interruption_shows_no_traceback(program: Path) -> None:
    """As Ctrl-C does."""
    waiting = program.with_name("waiting.py")
    waiting.write_text(
        "import time\nfrom command_line import run\nrun(lambda: print('here', flush=True) or time.sleep(60))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    command = ["env", "--default-signal=INT", sys.executable, str(waiting)]  # it is ignored where tests run with nohup
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as started:
        assert started.stdout is not None and started.stderr is not None
        assert started.stdout.readline() == "here\n"
        started.send_signal(signal.SIGINT)
        said = started.stderr.read()
        assert started.wait() == 130
    assert said.startswith("interrupted: ")
    assert "Traceback" not in said
