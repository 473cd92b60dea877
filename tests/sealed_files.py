"""Parquet files with a checksum, as the pipeline writes them, and with rows that it would not write."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlhf.checksums import KEY, ZEROS, seal_file


def write_sealed(table: pa.Table, path: Path) -> None:
    pq.write_table(table.replace_schema_metadata({KEY: ZEROS}), path)
    seal_file(path)
