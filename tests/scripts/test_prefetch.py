"""`prefetch` against a hub that runs here; what it fetched then works without one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from small_disk import NEEDS_ROOT, SmallDisk
from small_hub import COMMIT, TOKEN, SmallHub
from small_models import SCRIPTS, save_small_policy


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallHub]:
    root = tmp_path_factory.mktemp("hub")
    for owner in ("open", "gated"):
        folder = save_small_policy(root / "models" / owner / "policy")
        (folder / "original").mkdir()
        (folder / "original/consolidated.pth").write_bytes(b"the same weights again")
        (folder / "modeling.py").write_text("raise SystemExit('remote code')")
    pickled = save_small_policy(root / "models/open/pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model-00001-of-00001.bin")
    (root / "datasets/open/prompts/data").mkdir(parents=True)
    table = pa.table({"prompt": ["What is 2 + 2?", "Name a colour."]})
    pq.write_table(table, root / "datasets/open/prompts/data/train-00000-of-00001.parquet")
    with SmallHub(root) as running:
        yield running


def python(command: list[str], cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """With a cache of its own, and none of the tests' settings for the hub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", **more}
    return subprocess.run([sys.executable, *command], cwd=SCRIPTS, env=environment, capture_output=True, text=True)


def prefetch(hub: SmallHub, cache: Path, model: str, *flags: str, **more: str) -> subprocess.CompletedProcess[str]:
    spec = {
        "models": {"base_model.revision": {"name": model}},
        "datasets": {"prompts.revision": {"name": "open/prompts", "split": "train"}},
    }
    return python(["prefetch.py", "--spec", json.dumps(spec), *flags], cache, HF_ENDPOINT=hub.url, **more)


OFFLINE = """
from rlhf.datasets.files import open_hub
from rlhf.models.policies import load_policy
from rlhf.models.tokenizers import load_tokenizer
from rlhf.models.source import resolved_revision
load_policy("open/policy", None, "float32", "cpu")
print(len(load_tokenizer("open/policy")), resolved_revision("open/policy", None))
rows, commit = open_hub("open/prompts", None, "train", None)
print(rows["prompt"][:], commit)
"""


def test_downloads_work_without_a_hub(hub: SmallHub, tmp_path: Path) -> None:
    done = prefetch(hub, tmp_path, "open/policy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"base_model.revision: {COMMIT}  # open/policy",
        f"prompts.revision: {COMMIT}  # open/prompts",
    ]
    assert not [line for line in hub.asked if "consolidated" in line or "modeling.py" in line]
    offline = python(["-c", OFFLINE], tmp_path, HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert COMMIT in offline.stdout.splitlines()[0]
    assert "['What is 2 + 2?', 'Name a colour.']" in offline.stdout


def test_a_gated_model_needs_a_token_from_the_environment(hub: SmallHub, tmp_path: Path) -> None:
    refused = prefetch(hub, tmp_path, "gated/policy")
    assert refused.returncode == 1
    assert "error: gated/policy is gated: accept its license at https://huggingface.co/gated/policy" in refused.stderr
    assert prefetch(hub, tmp_path, "gated/policy", HF_TOKEN=TOKEN).returncode == 0


def test_pickled_weights_are_refused_before_anything_is_fetched(hub: SmallHub, tmp_path: Path) -> None:
    """By name, with the line that converts them; not even the tokenizer is asked for."""
    done = prefetch(hub, tmp_path, "open/pickled")
    assert done.returncode == 1
    assert "error: open/pickled: its weights are pickled (pytorch_model-00001-of-00001.bin)" in done.stderr
    assert "hf download open/pickled" in done.stderr
    assert not [line for line in hub.asked if "/open/pickled/resolve/" in line]


def test_what_the_hub_does_not_have(hub: SmallHub, tmp_path: Path) -> None:
    done = prefetch(hub, tmp_path, "open/nothing")
    assert done.returncode == 1
    assert (
        "error: model 'open/nothing' at revision 'main'" in done.stderr.splitlines()[-1]
        or "error: model" in done.stderr
    )


RECORDED = """
import sys
from pathlib import Path
from rlhf.datasets.files import open_dataset
from rlhf.models.policies import load_policy
from rlhf.models.source import ModelSource, model_location, resolved_revision
file = Path(sys.argv[1])
name, revision = model_location(None, ModelSource(name="open/policy"), file)
load_policy(name, revision, "float32", "cpu")
print(resolved_revision(name, revision))
with open_dataset("open/prompts", None, "train", None, file) as (rows, commit):
    print(len(rows), commit)
"""


def test_jobs_use_what_was_downloaded(tmp_path: Path) -> None:
    """A push before the download changes neither the commit that was recorded nor what is fetched for it."""
    table = pa.table({"prompt": ["What is 2 + 2?", "Name a colour."]})
    save_small_policy(tmp_path / "hub/models/open/policy")
    (tmp_path / "hub/datasets/open/prompts").mkdir(parents=True)
    pq.write_table(table, tmp_path / "hub/datasets/open/prompts/train.parquet")
    file, cache, pushed = tmp_path / "revisions.yaml", tmp_path / "cache", "f" * 40
    with SmallHub(tmp_path / "hub") as hub:
        file.write_text(f'models: {{open/policy: "{COMMIT}"}}\n')
        save_small_policy(hub.push("models/open/policy", pushed), seed=1)
        done = prefetch(hub, cache, "open/policy", "--revisions", str(file))
        assert done.returncode == 0, done.stderr
        assert f"base_model.revision: {COMMIT}  # open/policy" in done.stdout
        folder = hub.push("datasets/open/prompts", pushed)
        pq.write_table(table.slice(1), folder / "train.parquet")
    offline = python(["-c", RECORDED, str(file)], cache, HF_HUB_OFFLINE="1")
    assert offline.stdout.splitlines() == [COMMIT, f"2 {COMMIT}"], offline.stderr
    file.write_text(file.read_text().replace(f'"open/prompts": "{COMMIT}"', f'"open/prompts": "{pushed}"'))
    stale = python(["-c", RECORDED, str(file)], cache, HF_HUB_OFFLINE="1")
    assert f"dataset 'open/prompts': commit {pushed} is needed, but the hub cannot be reached" in stale.stderr


QUESTIONS = """
import sys
from pathlib import Path
from rlhf.base.errors import UserError
from rlhf.prompts.benchmarks import read_questions
from rlhf.prompts.settings import Benchmark
benchmark = Benchmark(dataset="open/benchmark", name="mine", file=sys.argv[2] or None, column="turns")
try:
    questions = read_questions(benchmark, Path(sys.argv[1]))
except UserError as error:
    sys.exit(f"error: {error}")
print(list(questions.texts), questions.revision)
"""


def test_a_file_of_a_repository_that_has_a_script(tmp_path: Path) -> None:
    """`datasets` refuses the repository as a whole; of the file, the commit that was recorded is fetched and read."""
    folder, cache, recorded = tmp_path / "hub/datasets/open/benchmark", tmp_path / "cache", tmp_path / "revisions.yaml"
    (folder / "data/v1").mkdir(parents=True)
    (folder / "benchmark.py").write_text("raise SystemExit('remote code')")
    file = folder / "data/v1/question.jsonl"
    file.write_text('{"turns": ["What is 2 + 2?", "And 2 + 3?"]}\n{"turns": ["Name a colour."]}\n')
    dataset = {"name": "open/benchmark", "split": "train", "file": "data/v1/question.jsonl"}
    key, pushed = "prompts.decontaminate.0.revision", "f" * 40
    command = ["prefetch.py", "--spec", json.dumps({"models": {}, "datasets": {key: dataset}})]
    with SmallHub(tmp_path / "hub") as hub:
        recorded.write_text(f'datasets: {{open/benchmark: "{COMMIT}"}}\n')
        (hub.push("datasets/open/benchmark", pushed) / "data/v1/question.jsonl").write_text('{"turns": ["Other?"]}\n')
        done = python([*command, "--revisions", str(recorded)], cache, HF_ENDPOINT=hub.url)
        assert done.stdout.splitlines() == [f"{key}: {COMMIT}  # open/benchmark"], done.stderr
        whole = python(["-c", QUESTIONS, str(recorded), ""], cache, HF_ENDPOINT=hub.url)
        absent = python(["-c", QUESTIONS, str(recorded), "data/v2/question.jsonl"], cache, HF_ENDPOINT=hub.url)
        new = python(command, tmp_path / "new", HF_ENDPOINT=hub.url)
        assert new.stdout.splitlines() == [f"{key}: {pushed}  # open/benchmark"], new.stderr
    assert whole.stderr.startswith("error: split 'train' of the dataset 'open/benchmark' at revision")
    assert "Dataset scripts are no longer supported, but found benchmark.py" in whole.stderr
    assert "error: file 'data/v2/question.jsonl' of the dataset 'open/benchmark' at revision" in absent.stderr
    offline = python(["-c", QUESTIONS, str(recorded), dataset["file"]], cache, HF_HUB_OFFLINE="1")
    assert offline.stdout == f"['What is 2 + 2?', 'And 2 + 3?', 'Name a colour.'] {COMMIT}\n", offline.stderr
    recorded.write_text(f'datasets: {{open/benchmark: "{pushed}"}}\n')
    stale = python(["-c", QUESTIONS, str(recorded), dataset["file"]], cache, HF_HUB_OFFLINE="1")
    assert stale.stderr.startswith("error: file 'data/v1/question.jsonl' of the dataset 'open/benchmark' at revision")


@NEEDS_ROOT
@pytest.mark.slow
def test_a_full_disk(hub: SmallHub, tmp_path: Path) -> None:
    """In the middle of the model, of the dataset's first files, and of what is made of it."""
    with SmallDisk(tmp_path, size="1m"):
        assert prefetch(hub, tmp_path, "open/policy").returncode == 0
        status = os.statvfs(tmp_path)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
    for size, place in ((used // 5, "hub"), (used - 4 * 4096, "datasets"), (used - 4096, "datasets")):
        with SmallDisk(tmp_path, size=str(size)) as disk:
            stopped = prefetch(hub, tmp_path, "open/policy")
            assert stopped.returncode == 1, stopped.stderr
            last = stopped.stderr.splitlines()[-1]
            assert last.startswith(f"error: {tmp_path}/{place}: cannot be written: the disk {tmp_path} is full"), last
            disk.resize("50m")
            done = prefetch(hub, tmp_path, "open/policy")
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[0] == f"base_model.revision: {COMMIT}  # open/policy"


FOLDER = """
from rlhf.datasets.files import hub_folder
folder, commit = hub_folder("open/prompts", None)
print(*sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()), commit)
"""


def test_questions_of_a_benchmark_are_fetched_as_files_without_code(hub: SmallHub, tmp_path: Path) -> None:
    spec = {"models": {}, "datasets": {"benchmarks.run.gsm8k.revision": {"name": "open/prompts", "split": None}}}
    done = python(["prefetch.py", "--spec", json.dumps(spec)], tmp_path, HF_ENDPOINT=hub.url)
    assert done.stdout == f"benchmarks.run.gsm8k.revision: {COMMIT}  # open/prompts\n", done.stderr
    offline = python(["-c", FOLDER], tmp_path, HF_HUB_OFFLINE="1")
    assert offline.stdout.split() == ["data/train-00000-of-00001.parquet", COMMIT], offline.stderr
