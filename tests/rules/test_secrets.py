"""A whole run with `--verbose`: no secret of the environment is in any file, and no job reports its use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import patch
from project import WORLD, Project, copy_with
from rlhf.base.telemetry import REPORTS_OFF

SECRETS = {
    "HF_TOKEN": "hf_QmVyeVNlY3JldFRva2Vu",
    "HUGGING_FACE_HUB_TOKEN": "hf_QW5vdGhlclNlY3JldA",
    "WANDB_API_KEY": "5ec2e7a11ce0b0b5ec2e7a11ce0b0b5ec2e7a11c",
    "OPENAI_API_KEY": "sk-c2VjcmV0IG9mIGEganVkZ2U",
}
SITE_CUSTOMIZE = """
import atexit, json, os, sys
from pathlib import Path


def tell():
    told = {"program": sys.argv[0], "variables": {name: os.environ.get(name) for name in %s}}
    (Path(os.environ["TOLD"]) / f"{os.getpid()}.json").write_text(json.dumps(told))


atexit.register(tell)
"""


@pytest.mark.slow
def test_a_verbose_run_keeps_secrets_and_reports_nothing(finished_micro: Project, tmp_path: Path) -> None:
    project = copy_with(finished_micro, tmp_path / "project", WORLD)
    config = patch(project.read_config(), {"prompts.train": 4, "variants.rebel.iterations": 1})
    del config["variants"]["simpo"]
    path = project.write_config(config, "one")
    (project.folder / "results/micro/world/prompts.parquet").unlink()
    for name in ("home", "told", "site"):
        (tmp_path / name).mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(SITE_CUSTOMIZE % list(REPORTS_OFF))
    kept = {name: value for name, value in os.environ.items() if name not in REPORTS_OFF}
    folders = {"HOME": tmp_path / "home", "TOLD": tmp_path / "told", "PYTHONPATH": tmp_path / "site"}
    environment = {**kept, **SECRETS, **{name: str(path) for name, path in folders.items()}}
    command = [sys.executable, "-m", "snakemake", "--verbose", "--configfile", path, "--cores", "2"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" and path.stat().st_size for path in files)
    assert any(".snakemake/metadata" in str(path) for path in files)
    contents = {str(path): path.read_bytes() for path in files}
    contents |= {"standard output": done.stdout.encode(), "standard error": done.stderr.encode()}
    for name, secret in SECRETS.items():
        assert not [where for where, content in contents.items() if secret.encode() in content], name

    told = [json.loads(path.read_text()) for path in (tmp_path / "told").iterdir()]
    jobs = [process for process in told if Path(process["program"]).parent == project.folder / "scripts"]
    assert len({process["program"] for process in jobs}) >= 9
    assert all(process["variables"] == REPORTS_OFF for process in jobs)
