"""What runs of a user's module is what the digest was taken of, whatever else has its name."""

import importlib.util
import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.base.artifacts import read_provenance
from rlhf.base.source_digest import source_digest
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from small_models import SCRIPTS

OWN = "def score(prompts, responses):\n    return [1.0] * len(responses)\n"
OTHER = OWN.replace("1.0", "2.0")
IMPORTS = "from {module} import VALUE\n\ndef score(prompts, responses):\n    return [VALUE] * len(responses)\n"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working directory with a prompt and two responses."""
    folder = tmp_path / "work"
    folder.mkdir()
    PROMPTS.write(folder / "prompts.parquet", [{"prompt_id": "a", "prompt": "why", "prompt_token_ids": [1]}], {})
    rows = [
        {"prompt_id": "a", "draw": d, "response": "so", "response_token_ids": [7], "finish_reason": "stop", "seed": d}
        for d in range(2)
    ]
    RESPONSES.write(folder / "responses.parquet", rows, {})
    return folder


def score(work: Path, module: str, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program in the working directory; Python looks in `first` before that."""
    scorer = {"kind": "function", "function": f"{module}:score"}
    spec = json.dumps({"rows": {"start": 0, "stop": 1}, "scorer": scorer, "model": None})
    inputs = ["--prompts", "prompts.parquet", "--responses", "responses.parquet", "--output", "rewards.parquet"]
    command = [sys.executable, str(SCRIPTS / "score_responses.py"), "--spec", spec, *inputs]
    environment = {**os.environ, "PYTHONPATH": str(first or "")}
    return subprocess.run(command, cwd=work, capture_output=True, text=True, env=environment)


def rewards(work: Path, module: str, first: Path | None = None) -> list[float]:
    """Its rewards, made by the code whose digest is recorded."""
    done = score(work, module, first)
    assert done.returncode == 0, done.stderr
    code = read_provenance(work / "rewards.parquet")["code"]
    assert code == code_of(module, work)
    return [row["reward"] for row in REWARDS.read(work / "rewards.parquet").to_pylist()]


def code_of(module: str, work: Path) -> str:
    """The digest of the program with a function of a module."""
    return source_digest(SCRIPTS / "score_responses.py", ["rlhf.rewards.kinds.function", module], (SCRIPTS, work))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_another_module_of_the_same_name_is_not_used(work: Path, tmp_path: Path) -> None:
    write(work / "my_reward.py", OWN)
    write(tmp_path / "first/my_reward.py", OTHER)
    assert rewards(work, "my_reward", tmp_path / "first") == [1.0, 1.0]


def test_an_installed_package_of_the_same_name_is_not_used(work: Path) -> None:
    """`networkx` comes with torch, and a function needs neither."""
    assert importlib.util.find_spec("networkx")
    write(work / "networkx.py", OWN)
    assert rewards(work, "networkx") == [1.0, 1.0]


@pytest.mark.parametrize("package", [True, False], ids=["package", "folder"])
def test_a_module_in_a_package(package: bool, work: Path, tmp_path: Path) -> None:
    write(work / "mine/rewards/brief.py", OWN)
    write(tmp_path / "first/mine/__init__.py", "")
    write(tmp_path / "first/mine/rewards/__init__.py", "")
    write(tmp_path / "first/mine/rewards/brief.py", OTHER)
    if package:
        write(work / "mine/__init__.py", "")
        write(work / "mine/rewards/__init__.py", "")
    assert rewards(work, "mine.rewards.brief", tmp_path / "first") == [1.0, 1.0]


@pytest.mark.parametrize("statement", ["from constants import VALUE", "from mine.constants import VALUE"])
def test_its_imports_are_not_replaced_either(statement: str, work: Path, tmp_path: Path) -> None:
    text = statement + "\n\ndef score(prompts, responses):\n    return [VALUE] * len(responses)\n"
    write(work / "my_reward.py", text)
    for name in ("constants.py", "mine/constants.py"):
        write(work / name, "VALUE = 1.0\n")
        write(tmp_path / "first" / name, "VALUE = 2.0\n")
    assert rewards(work, "my_reward", tmp_path / "first") == [1.0, 1.0]


def test_nor_are_its_imports_at_call_time(work: Path, tmp_path: Path) -> None:
    text = "def score(prompts, responses):\n    from constants import VALUE\n\n    return [VALUE] * len(responses)\n"
    write(work / "my_reward.py", text)
    write(work / "constants.py", "VALUE = 1.0\n")
    write(tmp_path / "first/constants.py", "VALUE = 2.0\n")
    assert rewards(work, "my_reward", tmp_path / "first") == [1.0, 1.0]


def test_relative_imports(work: Path) -> None:
    write(work / "mine/__init__.py", "")
    write(work / "mine/brief.py", IMPORTS.format(module=".constants"))
    write(work / "mine/constants.py", "VALUE = 1.0\n")
    assert rewards(work, "mine.brief") == [1.0, 1.0]


def test_a_link_to_a_file_elsewhere(work: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/shared_reward.py", OWN)
    (work / "my_reward.py").symlink_to(tmp_path / "elsewhere/shared_reward.py")
    assert rewards(work, "my_reward") == [1.0, 1.0]


@pytest.mark.parametrize("name", ["math", "json", "statistics"])
def test_a_name_taken_by_python_is_refused(name: str, work: Path) -> None:
    write(work / f"{name}.py", OWN)
    write(work / "my_reward.py", f"import {name}\nimport statistics\n{OWN}")
    for module in (name, "my_reward"):
        done = score(work, module)
        if done.returncode == 0:  # Python had not loaded it: then it is the user's
            assert name == "statistics"
            continue
        said = done.stderr.splitlines()[-1]
        assert said.startswith(f"error: function '{module}:score': Python already has a module named {name!r}")
        assert f"would use it instead of {work / name}.py: rename your file" in said
        assert not (work / "rewards.parquet").exists()


def test_compiled_code_beside_the_file_is_not_used(work: Path) -> None:
    """Python takes it where the file has the same size and time as the one that was compiled."""
    path = work / "my_reward.py"
    write(path, OTHER)
    py_compile.compile(str(path))
    times = path.stat()
    write(path, OWN)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert rewards(work, "my_reward") == [1.0, 1.0]


def test_the_package_of_a_function_is_part_of_the_digest(work: Path) -> None:
    write(work / "mine/__init__.py", "SCALE = 1\n")
    write(work / "mine/brief.py", OWN)
    program = SCRIPTS / "score_responses.py"
    before = source_digest(program, ["mine.brief"], (SCRIPTS, work))
    write(work / "mine/__init__.py", "SCALE = 2\n")
    assert source_digest(program, ["mine.brief"], (SCRIPTS, work)) != before


def test_a_file_that_changes_while_it_runs(work: Path) -> None:
    """What ran is recorded: the plan then finds another code, and scores again."""
    change = "from pathlib import Path; Path(__file__).write_text('def score(): return 3')"
    write(work / "my_reward.py", OWN.replace("    return", f"    {change}\n    return"))
    ran = code_of("my_reward", work)
    done = score(work, "my_reward")
    assert done.returncode == 0, done.stderr
    assert code_of("my_reward", work) != ran
    assert read_provenance(work / "rewards.parquet")["code"] == ran
