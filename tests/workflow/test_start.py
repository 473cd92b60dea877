"""What happens before any rule."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from experiments import MICRO, read_config
from rlhf.base.errors import UserError
from rlhf.machine.leases import GRANTED_BY
from workflow.start import prepare_process, start


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as it was, once the test has ended."""
    threshold = gc.get_threshold()
    monkeypatch.setenv("PATH", "/elsewhere")
    for name in (GRANTED_BY, "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    gc.set_threshold(*threshold)


@pytest.mark.parametrize(("environments", "own"), [("embedded", True), ("conda", False)])
def test_programs_of_an_embedded_run_come_from_the_environment_of_snakemake(
    environments: str, own: bool, environment: None
) -> None:
    prepare_process(environments, submitted=False)
    assert (os.environ["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)) is own
    assert GRANTED_BY not in os.environ
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"


def test_the_gpus_of_a_submitted_job_are_the_schedulers(environment: None) -> None:
    prepare_process("conda", submitted=True)
    assert os.environ[GRANTED_BY] == "scheduler"


def test_a_duplicate_key_is_refused_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(yaml.safe_dump(read_config(MICRO)) + "seed: 2\n")
    with pytest.raises(UserError, match=r"twice.yaml: duplicate keys"):
        start(read_config(MICRO), [str(file)], [], look_up=False)


def test_a_wrong_key_names_its_file(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump({**read_config(MICRO), "seeed": 1}))
    with pytest.raises(UserError, match=r"(?s)wrong.yaml: this is not a valid experiment.*Did you mean `seed`"):
        start({**read_config(MICRO), "seeed": 1}, [str(file)], [], look_up=False)
