"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the sources."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPES = {
    title: text
    for title, _, text in (
        section.partition("\n") for section in (REPOSITORY / "CONTRIBUTING.md").read_text().split("\n## A ")
    )
}
NAMES = {"<name>_scoring": "http_scoring", "<rule>": "build_pairs", "<stage>": "pairs"}
"""What stands for a new thing's name: that of one which is there."""
EXAMPLES = {"loss": "dpo_norm", "reward kind": "http", "sampling engine": "vllm", "stage": ""}
USE = """
import json, sys, torch
from rlhf.base.source_digest import SCRIPTS, source_digest
from rlhf.training.loss import PairBatch, PairLoss
from workflow.experiment import load_experiment
from workflow.reference.keys import reference
import yaml
config = yaml.safe_load(open(sys.argv[1]))
config["variants"]["mine"] = {"loss": {"name": "squared_hinge", "beta": 0.05}}
loss = load_experiment(config, "test").variants["mine"].loss
values = [torch.tensor([float(n), -n / 2.0]) for n in range(-4, 6)]
batch = PairBatch(*values)
print(json.dumps({
    "loss": loss.loss(batch).tolist(),
    "difference": (batch.chosen_logratio - batch.rejected_logratio).tolist(),
    "shown": "squared_hinge" in reference()["losses.md"],
    "digests": [source_digest(SCRIPTS / "train_policy.py", [f"rlhf.training.losses.{name}"])
                for name in ("rebel", "squared_hinge")],
}))
"""


@pytest.mark.parametrize("title", ["loss", "reward kind", "sampling engine", "stage"])
def test_a_recipe_has_at_most_six_steps_and_its_files_are_where_it_says(title: str) -> None:
    steps = re.findall(r"^\d\. (?:.+\n(?:   .+\n)*)", RECIPES[title], re.MULTILINE)
    assert 0 < len(steps) <= 6
    paths = [path for step in steps for path in re.findall(r"`((?:scripts|tests|config|rules)/[^`]+)`", step)]
    assert len(paths) >= len(steps)
    for path in paths:
        for name, there in {**NAMES, "<name>": EXAMPLES[title]}.items():
            path = path.replace(name, there)
        assert (REPOSITORY / path).exists(), path


def test_the_loss_of_the_recipe_works_and_reruns_no_other(tmp_path: Path) -> None:
    """In a copy of the sources: found by its name, in the reference, and in the digest of its own trainings alone."""
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    (code,) = re.findall(r"```python\n(.*?)```", RECIPES["loss"], re.DOTALL)
    (tmp_path / "scripts/rlhf/training/losses/squared_hinge.py").write_text(code)
    found = run(tmp_path)
    expected = [max(0.0, 1 - 0.05 * difference) ** 2 for difference in found["difference"]]
    assert found["loss"] == pytest.approx(expected)
    assert found["shown"]
    rebel, own = found["digests"]
    assert own != rebel
    (tmp_path / "scripts/rlhf/training/losses/squared_hinge.py").write_text(code.replace("(1 -", "(2 -"))
    edited = run(tmp_path)["digests"]
    assert edited[0] == rebel
    assert edited[1] != own


def run(folder: Path) -> dict[str, list[float]]:
    command = [sys.executable, "-c", USE, "config/micro.yaml"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder / "scripts")}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
