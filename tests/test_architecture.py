"""The house: dependencies point one way, files are small, names say something."""

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from environment_pins import pins

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "scripts"
LIBRARY = sorted((SCRIPTS / "rlhf").rglob("*.py"))
REFERENCE = REPOSITORY / "config/README.md"
"""Generated: a row per key."""
STAGES = (
    "prompts",
    "responses",
    "rewards",
    "pairs",
    "logprobs",
    "training",
    "evaluation",
    "benchmarks",
    "report",
    "publishing",
)
EXCEPTIONS = {
    ("rlhf.rewards.imported", "rlhf.responses.imported"),  # both are columns of one dataset
    ("rlhf.training.loop", "rlhf.logprobs.responses"),  # policy and reference are computed by the same functions
    ("rlhf.training.model", "rlhf.logprobs.frozen_weights"),
    ("rlhf.training.model", "rlhf.logprobs.responses"),
    ("rlhf.training.optimization.step", "rlhf.logprobs.responses"),
    ("rlhf.training.validation", "rlhf.logprobs.frozen_weights"),
    ("rlhf.training.validation", "rlhf.logprobs.pairs"),
    ("rlhf.training.validation", "rlhf.logprobs.responses"),
    ("rlhf.training.optimization.divided_prompts", "rlhf.logprobs.groups"),
    ("rlhf.training.optimization.divided_prompts", "rlhf.logprobs.responses"),
    ("rlhf.benchmarks.summary", "rlhf.evaluation.bootstrap"),  # the same intervals and the same length control
    ("rlhf.benchmarks.summary", "rlhf.evaluation.comparisons"),
    ("rlhf.benchmarks.summary", "rlhf.evaluation.difficulty"),
    ("rlhf.benchmarks.summary", "rlhf.evaluation.length_control"),
    ("rlhf.report.page", "rlhf.benchmarks.catalogue"),  # names of benchmarks
    ("rlhf.report.summary", "rlhf.benchmarks.catalogue"),
    ("rlhf.report.material", "rlhf.evaluation.scored_responses"),  # the page shows what was evaluated
}
"""What a stage imports of an earlier one beside its schema."""
SOURCES = sorted(
    path
    for pattern in (
        "scripts/**/*.py",
        "tests/**/*.py",
        "config/*.*",
        "rules/*.smk",
        "envs/*",
        "*.md",
        "*file",
        "*.toml",
    )
    for path in REPOSITORY.glob(pattern)
)


def imported_modules(path: Path) -> set[str]:
    """All absolute imports of a file, those inside functions too; what only type checkers see is left out."""
    tree = ast.parse(path.read_text())
    hidden = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def module_name(path: Path) -> str:
    parts = path.relative_to(SCRIPTS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_file_has_more_than_250_lines_and_no_function_more_than_50(path: Path) -> None:
    if path != REFERENCE:
        assert len(path.read_text().splitlines()) <= 250
    if path.suffix == ".py":
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        assert [found.name for found in functions if (found.end_lineno or 0) - found.lineno >= 50] == []


def test_no_folder_of_the_library_has_more_than_ten_modules() -> None:
    modules = Counter(path.parent for path in SCRIPTS.glob("*/**/*.py") if path.stem != "__init__")
    assert {folder: count for folder, count in modules.items() if count > 10} == {}


def test_only_the_report_imports_matplotlib() -> None:
    """Its environment is the report's alone, so that another version reruns nothing else."""
    users = {module_name(path) for path in LIBRARY if any("matplotlib" in name for name in imported_modules(path))}
    assert users
    assert all(name.startswith("rlhf.report.") for name in users)
    assert [
        name for name in ("data", "evaluation", "rebel", "report", "vllm") if "matplotlib" in pins(f"{name}.yaml")
    ] == ["report"]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_the_library_imports_no_snakemake_and_parses_no_arguments(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported_modules(path)}
    assert not tops & {"snakemake", "argparse", "tyro", "click"}


def test_of_another_stage_only_its_schema_is_imported() -> None:
    """What type checkers see included. Layers themselves are import-linter's, in `pyproject.toml`."""
    found = set()
    for path in LIBRARY:
        own = module_name(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                stage, other = stage_of(own), stage_of(node.module)
                shared = {f"rlhf.{other}.schema", "rlhf.pairs.paired_prompts"}  # the rows of PAIRS by prompt
                if stage and other and stage != other and node.module not in shared:
                    found.add((own, node.module))
    assert found == EXCEPTIONS


def stage_of(module: str) -> str | None:
    return next((stage for stage in STAGES if module.startswith(f"rlhf.{stage}.")), None)


def test_programs_of_rules_import_nothing_of_the_workflow() -> None:
    for program in SCRIPTS.glob("*.py"):
        assert not {name for name in imported_modules(program) if name.startswith("workflow")}, program


def test_the_configuration_is_read_without_heavy_libraries() -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'accelerate', 'matplotlib', 'numpy'}"
    code = f"import sys, workflow.experiment; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    shown = finished.stdout
    assert set(ast.literal_eval(shown)) <= {"numpy"}  # pyarrow brings numpy where it is installed


def test_every_rule_has_a_program_of_its_name_and_every_program_a_rule() -> None:
    rules = {
        line.split()[1].rstrip(":")
        for path in (REPOSITORY / "rules").glob("*.smk")
        for line in path.read_text().splitlines()
        if line.strip().startswith(("rule ", "checkpoint "))
    }
    assert rules == {path.stem for path in SCRIPTS.glob("*.py")} - {"command_line"}
