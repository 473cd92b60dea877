"""Inputs that several tests of training read."""

from pathlib import Path

import pytest

from small_models import save_small_policy
from training_inputs import write_all


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of the pairs, and the parent."""
    folder = tmp_path_factory.mktemp("data")
    policy = save_small_policy(folder / "policy")
    write_all(folder, policy, "float32")
    return folder, policy
