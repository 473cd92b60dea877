"""Remove the temporary files and folders that killed jobs left behind in a results folder.

Files of running jobs are kept. Whether a job on another machine still runs cannot be told from here: its files are
removed once nothing has been written to them for a day.
"""

import argparse
from pathlib import Path

from command_line import run
from rlhf.base.errors import UserError
from rlhf.base.files.temporary_files import leftovers, remove


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="the folder (default: results)")
    folder = parser.parse_args().results
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    freed = 0
    for found in leftovers(folder):
        size = f"{found.size / 1e6:,.1f} MB"
        if found.kept:
            print(f"kept {found.path} ({size}): {found.kept}")
        else:
            remove(found.path)
            freed += found.size
            print(f"removed {found.path} ({size})")
    print(f"{freed / 1e6:,.1f} MB freed")


if __name__ == "__main__":
    run(main)
