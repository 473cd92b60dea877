"""A program with conda's command line for the tests: what Snakemake calls, on py-rattler, pip and a local channel.

The solver and the installer are real ones, and so are the packages of an environment's `pip` section. The channel
stands for conda-forge, and holds two packages alone: `python`, which is this machine's interpreter by the version that
the environments ask for, and `pip`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import yaml
from rattler import Channel, install, solve
from rattler.index import index_fs

PLATFORM = "linux-64"
PYTHON_VERSION = "3.12.0"
"""What the channel says of its `python`."""
SITE_PACKAGES = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
ACTIVATE = """\
export CONDA_PREFIX="$1"
export PATH="$1/bin:$PATH"
"""


def make_conda(base: Path) -> None:
    """Lay out a conda in `base`: its program and `activate` in bin/, its channel, and room for environments."""
    (base / "bin").mkdir(parents=True)
    program = base / "bin/conda"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{base}" "$@"\n')
    program.chmod(0o755)
    (base / "bin/activate").write_text(ACTIVATE)
    packages = base / "channel" / PLATFORM
    packages.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        _pack(_interpreter(Path(folder)), packages, "python", PYTHON_VERSION, [])
    with tempfile.TemporaryDirectory() as folder:
        _pack(_pip(Path(folder)), packages, "pip", importlib.metadata.version("pip"), ["python"])
    asyncio.run(index_fs(base / "channel"))


def _interpreter(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    for path in folder.glob("bin/*ctivate*"):
        path.unlink()
    (folder / "lib64").unlink(missing_ok=True)
    (folder / SITE_PACKAGES / "README").write_text("for pip\n")
    return folder


def _pip(folder: Path) -> Path:
    for file in importlib.metadata.files("pip") or []:
        if "__pycache__" not in file.parts and not str(file).startswith(".."):
            target = folder / SITE_PACKAGES / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)
    return folder


def _pack(content: Path, packages: Path, name: str, version: str, depends: list[str]) -> None:
    """A package of conda's older format: a tar file with its list and description in info/."""
    files = [path for path in sorted(content.rglob("*")) if path.is_symlink() or path.is_file()]
    listed = [
        {
            "_path": str(path.relative_to(content)),
            "path_type": "softlink" if path.is_symlink() else "hardlink",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_in_bytes": path.stat().st_size,
        }
        for path in files
    ]
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends, "subdir": PLATFORM}
    (content / "info").mkdir()
    (content / "info/index.json").write_text(json.dumps(index))
    (content / "info/paths.json").write_text(json.dumps({"paths_version": 1, "paths": listed}))
    with tarfile.open(packages / f"{name}-{version}-0.tar.bz2", "w:bz2") as archive:
        archive.add(content, arcname="")


async def create(base: Path, file: Path, prefix: Path | None) -> None:
    """Make the environment of a YAML file, in `prefix` or by its name: the solver's packages, then pip's."""
    description = yaml.safe_load(file.read_text())
    assert description["channels"] == ["conda-forge"], "the local channel stands for this one alone"
    prefix = prefix or base / "envs" / description["name"]
    specs = [entry for entry in description["dependencies"] if isinstance(entry, str)]
    records = await solve([Channel((base / "channel").as_uri())], specs)
    await install(records, prefix, cache_dir=base / "packages", show_progress=False)
    for section in (entry["pip"] for entry in description["dependencies"] if isinstance(entry, dict)):
        requirements = prefix / "requirements.txt"
        requirements.write_text("\n".join(section))
        subprocess.run([prefix / "bin/python", "-m", "pip", "install", "--quiet", "-r", requirements], check=True)


def main() -> None:
    base, arguments = Path(sys.argv[1]), sys.argv[2:]
    if arguments == ["--version"]:
        print("conda 25.9.0")
    elif arguments == ["info", "--json"]:
        print(json.dumps({"conda_prefix": str(base), "platform": PLATFORM}))
    elif arguments == ["config", "--get", "channel_priority", "--json"]:
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif arguments[:2] == ["clean", "-y"]:
        shutil.rmtree(base / "packages", ignore_errors=True)
    elif arguments[:2] == ["env", "create"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("--file", "-f", type=Path, required=True)
        parser.add_argument("--prefix", "-p", type=Path)
        parser.add_argument("--quiet", action="store_true")
        parser.add_argument("--no-default-packages", action="store_true")
        flags = parser.parse_args(arguments[2:])
        asyncio.run(create(base, flags.file, flags.prefix))
    else:
        sys.exit(f"this stand-in for conda does not know: {' '.join(arguments)}")


if __name__ == "__main__":
    main()
