"""DeepSpeed's preparation on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from small_models import SCRIPTS


@pytest.mark.slow
def test_a_killed_compilation_is_not_waited_for(tmp_path: Path) -> None:
    stale = tmp_path / "deepspeed_shm_comm/lock"
    stale.parent.mkdir()
    stale.touch()
    program = "from rlhf.training.processes.zero3 import prepare_deepspeed; prepare_deepspeed(cpu=True)"
    environment = {**os.environ, "TORCH_EXTENSIONS_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], cwd=SCRIPTS, env=environment, check=True, timeout=300)
    assert stale.with_name("deepspeed_shm_comm.so").is_file()
    assert not stale.exists()
