"""`--sdm conda` with the real environment files: activation and pip for real, conda itself a stand-in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from packaging.requirements import Requirement

from conda_stand_in import make_conda
from environment_pins import pins
from experiments import patch
from project import REPOSITORY, Project, copy_project
from rlhf.base.artifacts import read_provenance
from test_determinism import COMPARED, digest

pytestmark = [pytest.mark.slow, pytest.mark.network]

STAGES = ("responses", "rewards", "pairs")
"""Of the environments vllm, rebel and data."""
VLLM_NEEDS = ("jinja2", "numpy", "torch")
"""What the programs of the vLLM environment use and vLLM brings."""


def write_wheel_in_place_of_vllm(folder: Path) -> Path:
    """A wheel of the pinned version without code, and with vLLM's dependencies: the real one is built for CUDA."""
    version, known = pins("vllm.yaml")["vllm"], pins("embedded.txt")
    info = f"vllm-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {name}=={known[name]}\n" for name in VLLM_NEEDS)
    wheel = folder / f"vllm-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n{needs}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture(scope="module")
def conda(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables of a shell that has conda, and no Python of the tests."""
    folder = tmp_path_factory.mktemp("conda")
    make_conda(folder / "base")
    constraints = folder / "constraints.txt"
    constraints.write_text(f"vllm @ {write_wheel_in_place_of_vllm(folder).as_uri()}\n")
    tests = str(Path(sys.executable).parent)
    paths = [path for path in os.environ["PATH"].split(os.pathsep) if path != tests]
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(folder / "base/bin"), *paths]),
        "PIP_CONSTRAINT": str(constraints),
    }


def test_the_micro_experiment_in_its_environments(
    conda: dict[str, str], finished_micro: Project, tmp_path: Path
) -> None:
    """Each rule in its own: rows and weights are those of the embedded run, and the files name their environment."""
    project = copy_project(tmp_path / "project")
    settings = patch(project.read_config(), {"environments": "conda", "variants.rebel.iterations": 1})
    del settings["variants"]["simpo"]
    config = project.write_config(settings, "conda")
    command = [sys.executable, "-m", "snakemake", "--sdm", "conda", "--cores", "2", "--configfile", config]
    done = subprocess.run(command, cwd=project.folder, env=conda, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    results = [each.folder / "results/micro" for each in (finished_micro, project)]
    assert [name for name in COMPARED if content(results[0] / name) != content(results[1] / name)] == []
    versions_of = [read_provenance(results[1] / f"base/{stage}/train-000.parquet")["versions"] for stage in STAGES]
    assert ["vllm" in recorded for recorded in versions_of] == [True, False, False]
    assert ["torch" in recorded for recorded in versions_of] == [True, True, False]
    made = {path.name: path for path in (project.folder / ".snakemake/conda").iterdir() if path.is_dir()}
    names = {name: yaml.safe_load(made[name].with_suffix(".yaml").read_text())["name"] for name in made}
    assert sorted(names.values()) == ["data", "rebel", "report", "vllm"]
    for folder, name in names.items():
        assert pins(f"{name}.yaml").items() <= installed(made[folder], conda).items()
    again = subprocess.run(command, cwd=project.folder, env=conda, capture_output=True, text=True)
    assert "Nothing to be done" in again.stdout + again.stderr
    assert upgraded(project, "report.yaml", "matplotlib", [*command, "--dry-run"], conda) == {"report"}
    assert upgraded(project, "vllm.yaml", "tqdm", [*command, "--dry-run"], conda) == {"generate_responses"}


def upgraded(project: Project, environment: str, package: str, plan: list[str], conda: dict[str, str]) -> set[str]:
    """The rules that run again because another version of a package is pinned."""
    path = project.folder / "envs" / environment
    kept = path.read_text()
    assert f"{package}==" in kept
    path.write_text(kept.replace(f"{package}==", f"{package}==4.1 # "))
    planned = subprocess.run(plan, cwd=project.folder, env=conda, capture_output=True, text=True)
    path.write_text(kept)
    blocks = re.split(r"\n\[.*\]\n", planned.stdout + planned.stderr)
    reason = "Software environment definition has changed"
    return {block.split(":")[0].removeprefix("rule ") for block in blocks if reason in block}


def content(path: Path) -> pa.Table | str:
    """Rows without what a file says of its origin, which names the libraries of its environment."""
    return pq.read_table(path).replace_schema_metadata() if path.suffix == ".parquet" else digest(path)


def installed(environment: Path, conda: dict[str, str]) -> dict[str, str]:
    command = [environment / "bin/python", "-m", "pip", "list", "--format", "json"]
    return versions(json.loads(subprocess.run(command, env=conda, capture_output=True, check=True).stdout))


def versions(packages: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Package -> version, local parts such as `+cpu` left out."""
    return {package["name"].lower(): package["version"].split("+")[0] for package in packages}


def test_a_program_alone_in_an_environment_made_by_hand(conda: dict[str, str], finished_micro: Project) -> None:
    """The lines of README, after which one stage runs without Snakemake."""
    lines = """
    set -euo pipefail
    conda env create --file envs/report.yaml
    base="$(dirname "$(dirname "$(command -v conda)")")"
    source "$base/bin/activate" "$base/envs/report"
    python scripts/report.py --help
    """
    done = subprocess.run(["bash", "-c", lines], cwd=REPOSITORY, env=conda, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: report.py")


def test_the_pins_of_training_resolve_together(tmp_path: Path) -> None:
    """By pip's own solver, for the real packages with all that they need; nothing is installed."""
    assert pins("rebel.yaml").items() <= versions(described("rebel.yaml", tmp_path)).items()


@pytest.mark.parametrize("name", ["data.yaml", "evaluation.yaml", "rebel.yaml", "report.yaml", "vllm.yaml"])
def test_the_pins_allow_each_other(name: str, tmp_path: Path) -> None:
    """What each pinned package says of the others."""
    expected = pins(name)
    for metadata in described(name, tmp_path, "--no-deps"):
        for needed in map(Requirement, metadata.get("requires_dist", [])):
            applies = needed.marker is None or needed.marker.evaluate({"extra": "", "python_version": "3.12"})
            if applies and (version := expected.get(needed.name.lower())):
                assert needed.specifier.contains(version), f"{metadata['name']} needs {needed}"


def described(name: str, folder: Path, *flags: str) -> list[dict[str, Any]]:
    """The metadata of what pip would install."""
    requirements, report = folder / "requirements.txt", folder / "report.json"
    requirements.write_text("\n".join(f"{package}=={version}" for package, version in pins(name).items()))
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", *flags]
    done = subprocess.run([*command, "-r", requirements, "--report", report], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [item["metadata"] for item in json.loads(report.read_text())["install"]]
