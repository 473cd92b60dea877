"""The digest of a program and the modules behind it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from rlhf.base.source_digest import CHANGES_NO_RESULT, SCRIPTS, find_module, module_files, source_digest, source_files
from rlhf.training.loss import Loss

PROGRAM = '"""Doc."""\nimport os\nfrom package.near import work\nwork(1, key="two")\n'
NEAR = "import package.far\n\ndef work(x, key):\n    return package.far.other(x) + len(key)\n"
FAR = "class Settings:\n    size: int = 3\n\ndef other(x):\n    return -x\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "package" / "near.py").write_text(NEAR)
    (tmp_path / "package" / "far.py").write_text(FAR)
    (tmp_path / "package" / "unused.py").write_text("x = 1\n")
    return tmp_path


def project_digest(project: Path, *modules: str) -> str:
    return source_digest(project / "program.py", modules, (project,))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("program.py", '"""Doc."""', '"""Other words,\n\nand more of them."""  # and a comment'),
        ("program.py", "work(1, key=", "work(\n    1,\n    key="),
        ("program.py", '"two"', "'two'"),
        ("package/near.py", "def work(x, key):", 'def work(x, key):\n    """What it does."""  # comment'),
        ("package/far.py", "size: int = 3", 'size: int = 3\n    """Described."""'),
        ("package/far.py", "class Settings:", '"""Module."""\n\n\nclass Settings:\n    """Class."""\n'),
        ("package/unused.py", "x = 1", "x = 2"),
        (
            "program.py",
            "import os\n",
            "import os\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import package.unused\n",
        ),
    ],
)
def test_what_does_not_matter(project: Path, file: str, old: str, new: str) -> None:
    if "TYPE_CHECKING" in new:  # the import of the constant is code, what stands below it never runs
        (project / file).write_text(PROGRAM.replace("import os\n", "import os\nfrom typing import TYPE_CHECKING\n"))
        before = project_digest(project)
        (project / file).write_text(PROGRAM.replace(old, new))
        assert project_digest(project) == before
        return
    before = project_digest(project)
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))
    assert project_digest(project) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("program.py", "work(1", "work(2"),
        ("program.py", '"two"', 'b"two"'),
        ("program.py", "import os\n", "import os\nimport package.unused\n"),
        ("program.py", "import os\n", "import os\nfrom package import unused\n"),
        ("package/near.py", "len(key)", "len(key) + 1"),
        ("package/far.py", "size: int = 3", "size: int = 4"),
        ("package/far.py", "return -x", "return +x"),
        ("package/far.py", "def other(x):", "def other(x, y=None):"),
        ("package/__init__.py", "", "x = 1\n"),
    ],
)
def test_what_matters(project: Path, file: str, old: str, new: str) -> None:
    before = project_digest(project)
    text = (project / file).read_text()
    (project / file).write_text(text.replace(old, new) if old else new)
    assert project_digest(project) != before


def test_modules_that_settings_name_count(project: Path) -> None:
    before = project_digest(project, "package.unused")
    assert before != project_digest(project)
    (project / "package" / "unused.py").write_text("x = 2\n")
    assert project_digest(project, "package.unused") != before
    with pytest.raises(FileNotFoundError, match=r"package\.absent"):
        project_digest(project, "package.absent")


def test_circle_of_imports_ends(project: Path) -> None:
    (project / "package" / "far.py").write_text("import package.near\n" + FAR)
    assert len(project_digest(project)) == 16


def test_place_of_the_project_does_not_matter(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("copy")
    for path in project.rglob("*.py"):
        (copy / path.relative_to(project)).parent.mkdir(exist_ok=True)
        (copy / path.relative_to(project)).write_bytes(path.read_bytes())
    assert project_digest(copy) == project_digest(project)


def test_stages_do_not_see_later_ones() -> None:
    """An edit of the loss regenerates no responses."""
    assert find_module("rlhf.training.losses.rebel", (SCRIPTS,)) is not None
    for program in ("collect_prompts", "import_responses", "build_pairs"):
        path = SCRIPTS / f"{program}.py"
        assert source_digest(path) != source_digest(path, ["rlhf.training.losses.rebel"])
        assert source_digest(path) == source_digest(path, ["rlhf.prompts.schema"])


def test_relative_imports_of_a_package_count(tmp_path: Path) -> None:
    package = tmp_path / "rewards"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "score.py").write_text("from .rules import best\nfrom . import words\n")
    (package / "rules.py").write_text("best = 1\n")
    (package / "words.py").write_text("")
    program = tmp_path / "program.py"
    program.write_text("")
    digests = [source_digest(program, ["rewards.score"], (tmp_path,))]
    (package / "rules.py").write_text("best = 2\n")
    digests.append(source_digest(program, ["rewards.score"], (tmp_path,)))
    (package / "words.py").write_text("few = 1\n")
    digests.append(source_digest(program, ["rewards.score"], (tmp_path,)))
    assert len(set(digests)) == 3


def test_templates_of_a_package_count(tmp_path: Path) -> None:
    package = tmp_path / "page"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "page.html").write_text("a")
    program = tmp_path / "program.py"
    program.write_text("import page\n")
    before = source_digest(program, (), (tmp_path,))
    (package / "page.html").write_text("b")
    assert source_digest(program, (), (tmp_path,)) != before


def test_what_a_machine_has_is_in_no_digest(tmp_path: Path) -> None:
    """`train_policy` imports the memory model, and an edit of it reruns nothing."""
    scripts = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; from pathlib import Path; from rlhf.base.source_digest import source_digest as d;"
    code += "print(d(Path('train_policy.py')))"

    def digest() -> str:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True
        ).stdout

    before = digest()
    memory = scripts / "rlhf/machine/memory.py"
    memory.write_text(memory.read_text().replace("SPARE = 0.1", "SPARE = 0.2"))
    assert digest() == before
    optimizers = scripts / "rlhf/training/optimization/optimizers.py"
    optimizers.write_text(optimizers.read_text() + "\nADDED = 1\n")
    assert digest() != before


PROGRAMS = [path for path in SCRIPTS.glob("*.py") if path.stem not in {"accept", "clean_temporary", "plan", "resume"}]
TRAINERS = {"train_policy", "pretrain_tiny_policy", "train_tiny_policy", "train_tiny_reward_model"}


@pytest.mark.parametrize(
    ("module", "programs"),
    [
        ("rlhf/models/policies.py", TRAINERS | {"compute_logprobs", "measure_drift"}),
        (
            "rlhf/datasets/files.py",
            {"collect_prompts", "import_pairs", "import_responses", "import_rewards", "prefetch", "run_benchmark"},
        ),
        ("rlhf/training/loop.py", {"train_policy"}),
        ("rlhf/logprobs/head.py", {"compute_logprobs", "measure_drift", "train_policy"}),
        ("rlhf/pairs/choice.py", {"build_pairs", "build_examples"}),
        ("rlhf/examples/building.py", {"build_examples"}),
        ("rlhf/training/units/examples.py", set()),  # of trainings whose loss learns from examples
        ("rlhf/rewards/combination.py", {"combine_rewards"}),
        ("rlhf/evaluation/length_control.py", {"length_control", "summarize_benchmarks"}),
        ("rlhf/benchmarks/relay.py", {"run_benchmark"}),
        ("rlhf/benchmarks/summary.py", {"summarize_benchmarks"}),
        *((f"rlhf/benchmarks/{name}_suite.py", set()) for name in ("alpaca", "evalscope")),
        ("rlhf/rewards/scorer.py", {"score_responses", "combine_rewards", "train_tiny_reward_model"}),
        ("rlhf/report/page.py", {"report"}),
        *((f"rlhf/training/losses/{name}.py", set()) for name in ("rebel", "dpo", "simpo")),
        *((f"rlhf/rewards/kinds/{name}.py", set()) for name in ("armo", "function", "combined")),
        *((f"rlhf/responses/engines/{name}.py", set()) for name in ("vllm", "transformers")),
        *((str(path.relative_to(SCRIPTS)), set()) for path in sorted(CHANGES_NO_RESULT)),
        *((str(path.relative_to(SCRIPTS)), set()) for path in sorted(SCRIPTS.glob("workflow/**/*.py"))),
    ],
)
def test_which_programs_hold_a_module(module: str, programs: set[str]) -> None:
    """Choices are added by the settings that name them; the rest of what no program holds changes no result."""
    path = SCRIPTS / module
    assert path.is_file()
    assert {program.stem for program in PROGRAMS if path in source_files([program], (SCRIPTS,))} == programs


def test_the_modules_that_settings_choose() -> None:
    loss = settings_of("dpo")
    assert loss.module == "rlhf.training.losses.dpo"
    files = source_files([SCRIPTS / "train_policy.py", *module_files(loss.module, (SCRIPTS,))], (SCRIPTS,))
    named = {path.stem for path in files if path.parent.name == "losses"}
    assert named == {"__init__", "dpo"}


def settings_of(loss: str) -> Loss:
    return TypeAdapter(Loss).validate_python({"name": loss})
