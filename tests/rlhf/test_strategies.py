"""How a process of several ends."""

import subprocess
import sys

from small_models import SCRIPTS

PROGRAM = """
import atexit
from rlhf.strategies import leave
atexit.register(print, "taken down")
print("written", end="")
leave()
"""


def test_leaving_writes_what_is_buffered_and_takes_nothing_down() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert done.stdout == "written"
