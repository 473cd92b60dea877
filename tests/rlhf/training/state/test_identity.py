"""What a saved state belongs to: edits that cannot change a result do not discard it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.base.provenance import provenance
from rlhf.base.source_digest import CHANGES_NO_RESULT
from rlhf.training.state.states import identity_of
from small_models import SCRIPTS, train_spec

SPEC = train_spec({"name": "dpo", "beta": 0.5})
DIGEST = """
from pathlib import Path
from rlhf.base.source_digest import source_digest
print(source_digest(Path("train_policy.py"), ["rlhf.training.losses.dpo"]))
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    return shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))


def identity(scripts: Path) -> str:
    command = [sys.executable, "-c", DIGEST]
    code = subprocess.run(command, cwd=scripts, capture_output=True, text=True, check=True).stdout
    return identity_of({**provenance(str(SCRIPTS / "train_policy.py"), SPEC, {}), "code": code})


def edit(file: Path, old: str = "", new: str = "\nADDED = 1\n") -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new) if old else text + new)


def test_leases_progress_trackers_and_command_line_texts_keep_it(scripts: Path) -> None:
    before = identity(scripts)
    for path in CHANGES_NO_RESULT:
        edit(scripts / path.relative_to(SCRIPTS))
    edit(scripts / "train_policy.py", "the training metrics, Parquet", "other words")
    assert identity(scripts) == before


@pytest.mark.parametrize(
    "module", ["training/losses/dpo.py", "training/optimization/step.py", "machine/device.py", "training/loop.py"]
)
def test_an_edit_of_what_is_computed_changes_it(module: str, scripts: Path) -> None:
    before = identity(scripts)
    edit(scripts / "rlhf" / module)
    assert identity(scripts) != before


def test_other_settings_change_it() -> None:
    program = str(SCRIPTS / "train_policy.py")
    other = SPEC.model_copy(update={"seed": SPEC.seed + 1})
    assert identity_of(provenance(program, SPEC, {})) != identity_of(provenance(program, other, {}))
