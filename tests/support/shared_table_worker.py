"""One of several processes that read the same table; writes what it found to the given folder."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from rlhf.base.artifacts import TOKEN_IDS
from rlhf.pairs.schema import PAIR_COLUMNS, PAIRS, PairTable
from rlhf.training.processes.shared_table import once_per_machine
from rlhf.training.processes.strategies import leave, make_accelerator
from small_models import pair_rows

PARTS, ROWS, TOKENS = 4, 1000, 1000


def main() -> None:
    output, processes = Path(sys.argv[1]), int(sys.argv[2])
    accelerator = make_accelerator("ddp", processes, "float32", None, cpu=True)
    reads = []

    def read() -> Iterator[pa.Table]:
        for part in range(PARTS):
            reads.append(part)
            ids = np.arange(ROWS * TOKENS, dtype=np.int32) + part
            lists = pa.ListArray.from_arrays(np.arange(0, ROWS * TOKENS + 1, TOKENS, dtype=np.int32), ids, TOKEN_IDS)
            yield part_table(lists)

    pairs = PairTable(once_per_machine(read, accelerator))
    total = sum(int(np.sum(pair.chosen_token_ids, dtype=np.int64)) for pair in pairs)
    accelerator.wait_for_everyone()  # all have looked at every page
    found = {"reads": len(reads), "rows": len(pairs), "total": total, **mapped()}
    (output / f"{accelerator.process_index}.json").write_text(json.dumps(found))
    accelerator.wait_for_everyone()
    leave()


def part_table(chosen: pa.ListArray) -> pa.Table:
    """Pairs with these chosen responses, and next to nothing in their other columns."""
    row = pair_rows(1)[0]
    table = pa.Table.from_pylist([row] * len(chosen), PAIRS.schema).select(PAIR_COLUMNS)
    return table.set_column(PAIR_COLUMNS.index("chosen_token_ids"), PAIRS.schema.field("chosen_token_ids"), chosen)


def mapped() -> dict[str, int]:
    """Bytes of unnamed files mapped by this process: resident, and its proportional share."""
    found = {"Rss": 0, "Pss": 0}
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith("(deleted)") and str(Path(sys.argv[3])) in line
        elif inside and line.split(":")[0] in found:
            found[line.split(":")[0]] += int(line.split()[1]) * 1024
    return found


if __name__ == "__main__":
    main()
