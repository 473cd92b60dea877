"""Where the questions of a benchmark are: in a folder, which is downloaded if it has to be."""

from __future__ import annotations

from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.benchmarks.catalogue import MODELSCOPE, repository_of
from rlhf.benchmarks.settings import BenchmarkSpec
from rlhf.datasets.files import hub_folder
from rlhf.models.revisions import recorded_commit


def questions_folder(spec: BenchmarkSpec, revisions: Path | None) -> tuple[Path | None, str | None]:
    """The folder with a benchmark's files, and the commit of the hub dataset that it is from.

    Args:
        revisions: the experiment's `revisions.yaml`, for a hub dataset whose revision is null.

    Returns:
        (None, None) for a benchmark that is not in the catalogue: EvalScope loads it from the hub by itself.

    Raises:
        UserError: it cannot be downloaded.
    """
    if spec.task.data is not None:
        return Path(spec.task.data).resolve(), None
    repository = repository_of(spec.benchmark)
    if repository is not None:
        commit = spec.task.revision or recorded_commit(revisions, "dataset", repository)
        return hub_folder(repository, commit)
    if spec.benchmark in MODELSCOPE:
        return _from_modelscope(MODELSCOPE[spec.benchmark]), None
    return None, None


def _from_modelscope(name: str) -> Path:
    """Download the files of a dataset of ModelScope; no code of it runs."""
    from modelscope import dataset_snapshot_download

    try:
        return Path(dataset_snapshot_download(name))
    except Exception as error:
        raise UserError(
            f"the dataset {name!r} cannot be downloaded from ModelScope: {type(error).__name__}: {error}. Download it "
            f"elsewhere (`modelscope download --dataset {name} --local_dir FOLDER`), and give the folder as `data`."
        ) from error
