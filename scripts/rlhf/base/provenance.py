"""Provenance of an artifact: its spec, digests of its code and inputs, and library versions."""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlhf.base.files.checksums import stated_checksum
from rlhf.base.settings import Settings
from rlhf.base.source_digest import source_digest

MODELS = ("torch", "transformers", "tokenizers", "vllm", "accelerate")
LIBRARIES = (*MODELS, "datasets", "numpy", "scipy", "pyarrow", "evalscope", "alpaca_eval")
SAMPLED_BLOCKS = 256
BLOCK_BYTES = 65536


def provenance(
    program: str,
    spec: Settings,
    inputs: Mapping[str, Path | Iterable[Path]],
    extra_modules: Iterable[str] = (),
    **facts: Any,
) -> dict[str, Any]:
    """The provenance that an artifact records; it does not depend on the time, the machine or any path.

    Args:
        program: the running program's `__file__`.
        spec: the settings it was given.
        inputs: flag name -> file or files, recorded as digests.
        extra_modules: modules that the settings name, such as a user's reward function.
        facts: counts, resolved revisions and the like; JSON types only.
    """
    return {
        "spec": spec.model_dump(mode="json"),
        "code": source_digest(Path(program), extra_modules),
        "inputs": {
            flag: digest(paths) if isinstance(paths, Path) else [digest(path) for path in paths]
            for flag, paths in inputs.items()
        },
        "versions": installed_versions(),
        **facts,
    }


def installed_versions() -> dict[str, str]:
    """Library -> version, for those of `LIBRARIES` that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def digest(path: Path) -> str:
    """Hex digest (16 characters): a result's recorded checksum, else of a file's bytes, or a folder's `fingerprint`."""
    stated = stated_checksum(path)
    if stated is not None:
        return stated[:16]
    if path.is_dir():
        return fingerprint(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def fingerprint(folder: Path) -> str:
    """Hex digest (16 characters) of the names, sizes and contents of a folder's files; modification times do not count.

    Of large files (a model's weights) only `SAMPLED_BLOCKS` evenly spaced blocks are read, so that it does not take
    minutes. A training step changes every block, but an edit of single weights by hand may go unnoticed.
    """
    sha = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p.relative_to(folder))):
        size = path.stat().st_size
        sha.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= SAMPLED_BLOCKS * BLOCK_BYTES:
                sha.update(file.read())
            else:
                for i in range(SAMPLED_BLOCKS):
                    file.seek((size - BLOCK_BYTES) * i // (SAMPLED_BLOCKS - 1))
                    sha.update(file.read(BLOCK_BYTES))
    return sha.hexdigest()[:16]


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
