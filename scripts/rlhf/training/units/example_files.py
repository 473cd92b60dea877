"""Reading examples with their reference log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.examples.schema import EXAMPLE_COLUMNS, EXAMPLES, REFERENCE_COLUMNS
from rlhf.logprobs.schema import EXAMPLE_LOGPROBS
from rlhf.training.settings import TrainSpec
from rlhf.training.units.unit import RowFiles


def example_tables(files: Sequence[RowFiles], spec: TrainSpec) -> Iterator[pa.Table]:
    """The examples of each file in turn, with their reference log-probabilities.

    Raises:
        ArtifactError: log-probabilities are missing, or are of other examples, another temperature or precision.
    """
    for each in files:
        if len(each.logprobs) != len(each.rows):
            raise ArtifactError(
                f"{spec.loss.name} needs reference log-probabilities: {len(each.rows)} file(s) of examples need as "
                f"many of log-probabilities, but {len(each.logprobs)} were given"
            )
        for rows, logprobs in zip(each.rows, each.logprobs, strict=True):
            yield _with_reference(rows, logprobs, spec)


def _with_reference(example_file: Path, logprob_file: Path, spec: TrainSpec) -> pa.Table:
    examples, reference = EXAMPLES.read(example_file, EXAMPLE_COLUMNS), EXAMPLE_LOGPROBS.read(logprob_file)
    made_with = read_provenance(logprob_file)["spec"]
    for key, wanted in (("temperature", spec.temperature), ("precision", spec.precision)):
        if made_with[key] != wanted:
            raise ArtifactError(f"{logprob_file}: computed with {key} {made_with[key]}, but training uses {wanted}")
    if not all(reference[name].equals(examples[name]) for name in EXAMPLES.key):
        raise ArtifactError(f"{logprob_file}: its log-probabilities are not those of the examples in {example_file}")
    for name in REFERENCE_COLUMNS:
        examples = examples.append_column(name, reference[name])
    return examples
