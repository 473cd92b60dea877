"""The provenance stored in each result replaces Snakemake's own records, which do not travel with the files.

Snakemake considers a result finished unless its records disagree. If the records are lost, or a result was copied,
swapped or left over from other settings, the records are missing or wrong. Every result here states its own
provenance, and that is what a plan compares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from snakemake.common.tbdstring import TBDString
from snakemake.persistence import NO_PARAMS_CHANGE, ParamsChange

from rlhf.base.artifacts import stated_provenance
from rlhf.base.errors import UserError
from rlhf.base.files.folders import folder_provenance, remove_folder
from rlhf.base.lineage import different_inputs
from rlhf.training.settings import SAVED_STATES
from workflow.dry_run import inputs_of
from workflow.records.accepted_code import AcceptedCode
from workflow.records.changed_settings import changed_settings
from workflow.records.run_locks import RunLocks

CHECKPOINT = "checkpoint"
"""The name of every policy's folder, as the rules give it."""


class OwnRecords(RunLocks):
    """Snakemake's records, with settings, code and inputs taken from the results themselves.

    Rules of another workflow that uses this one as a module keep Snakemake's records.
    """

    accepted: ClassVar[AcceptedCode] = AcceptedCode({})
    """Accepted changes of all experiments in the workflow."""

    def started(self, job: Any, external_jobid: str | None = None) -> None:
        """Once a job uses a policy, its training is finished and recorded: its saved states are no longer needed."""
        super().started(job, external_jobid)
        if self.dag.workflow.is_main_process:
            for path in map(Path, job.input):
                remove_saved_states(path)

    def has_metadata(self, job: Any) -> bool:
        """Whether there is something to compare; an output that a new setting adds must not hide that of the others."""
        return super().has_metadata(job) or (is_ours(job) and any(path.exists() for path in map(Path, job.output)))

    def params_changed(self, job: Any, file: Any = None) -> ParamsChange:
        """What differs, in words that Snakemake's plan prints."""
        if is_undecided(job):
            return NO_PARAMS_CHANGE
        if not is_ours(job):
            return super().params_changed(job, file)
        found: set[str] = set()
        for path in map(Path, [file] if file is not None else job.output):
            if path.exists():
                found.update(differences(stated_origin(path), job.params, self.accepted))
        return ParamsChange(only_new=found, files=set(job.output)) if found else NO_PARAMS_CHANGE

    def _input_changed(self, job: Any, file: Any = None) -> bool:
        """Whether an output was made from other files or other contents."""
        if is_undecided(job):
            return False
        if super()._input_changed(job, file):
            return True
        origin = stated_origin(Path(file)) if is_ours(job) and Path(file).exists() else None
        return origin is not None and bool(different_inputs(origin, inputs_of(job)))


def use_own_records(accepted: Path) -> None:
    """Make Snakemake compare the provenance of the results.

    Args:
        accepted: the experiment's file of `make accept`.
    """
    from snakemake import workflow  # it cannot be the first of Snakemake's modules

    OwnRecords.accepted.include(AcceptedCode.read(accepted))
    workflow.FilePersistence = OwnRecords


def is_ours(job: Any) -> bool:
    """Whether a job belongs to this workflow: its rule has the parameters `spec` and `code`."""
    return {"spec", "code"} <= set(job.params.keys())


def is_undecided(job: Any) -> bool:
    """Whether a job's settings are not known before a sweep has chosen: then Snakemake looks at it once more."""
    return isinstance(getattr(job.params, "spec", None), TBDString)


def remove_saved_states(used: Path) -> None:
    """Remove the saved training states beside a checkpoint, and leftovers of an interrupted removal."""
    if used.name != CHECKPOINT:
        return
    for folder in [*sorted(used.parent.glob(f".{SAVED_STATES}.*")), used.with_name(SAVED_STATES)]:
        if folder.is_dir():
            remove_folder(folder)


def differences(origin: Mapping[str, Any] | None, params: Any, accepted: AcceptedCode) -> list[str]:
    """How a result differs from what is asked for in settings and code, or that it states no provenance."""
    if origin is None or not {"spec", "code"} <= origin.keys():
        return ["it states no provenance: it is damaged, or something else wrote it"]
    found = list(changed_settings(origin["spec"], json.loads(params.spec)))
    if not accepted.is_same(origin["code"], params.code):
        found.append("code")
    return found


def stated_origin(path: Path) -> dict[str, Any] | None:
    """The provenance that a file or folder states; None if it states none or cannot be read."""
    status = path.stat()
    return _stated_origin(path, status.st_mtime_ns, status.st_ino)


@cache
def _stated_origin(path: Path, *stamp: int) -> dict[str, Any] | None:
    try:
        return folder_provenance(path) if path.is_dir() else stated_provenance(path)
    except (UserError, ValueError):  # not Parquet, not JSON, not text
        return None
