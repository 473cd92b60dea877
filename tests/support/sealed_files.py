"""Parquet files sealed like the pipeline's, but with rows that it would not write."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlhf.base.files.checksums import KEY, ZEROS, seal_file


def write_sealed(table: pa.Table, path: Path, **options: Any) -> None:
    pq.write_table(table.replace_schema_metadata({KEY: ZEROS}), path, **options)
    seal_file(path)
