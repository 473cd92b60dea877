"""The program that collects prompts."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import collect_prompts
from collecting import DEFAULTS
from rlhf.base.artifacts import read_provenance
from rlhf.base.errors import UserError
from rlhf.base.provenance import digest
from rlhf.datasets import files as dataset_files
from rlhf.models.source import ModelSource
from rlhf.prompts.schema import PROMPTS
from rlhf.prompts.settings import CollectSpec

Collect = Callable[..., Path]
LINES = [{"prompt": f"prompt {number}"} for number in range(20)]


def spec_json(**changes: Any) -> str:
    return CollectSpec.model_validate({**DEFAULTS, "dataset": None, "max_tokens": 60, **changes}).model_dump_json()


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def collect(tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Collect:
    """Run the program in this process on a file; gives the output's path."""

    def run(dataset: Path, *flags: str, **changes: Any) -> Path:
        output = tmp_path / "out" / "prompts.parquet"
        arguments = ["--spec", spec_json(**changes), "--dataset", str(dataset), "--base-model", str(policy_folder)]
        monkeypatch.setattr(sys, "argv", ["collect_prompts.py", *arguments, *flags, "--output", str(output)])
        collect_prompts.main()
        return output

    return run


def test_counts_go_to_the_provenance_and_the_log(
    collect: Collect, tmp_path: Path, policy_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows: list[Mapping[str, object]] = [
        *LINES,
        {"prompt": None},
        {"prompt": " "},
        {"prompt": "PROMPT 1"},
        {"prompt": "x " * 200},
    ]
    dataset = write_lines(tmp_path / "data.jsonl", rows)
    with caplog.at_level(logging.INFO):
        output = collect(dataset, "--train", "15", "--test", "5")
    counts = {"rows": 24, "prompts": 20, "dropped": {"not_text": 1, "empty": 1, "duplicate": 1, "too_long": 1}}
    provenance = read_provenance(output)
    assert provenance["counts"] == counts
    assert provenance["inputs"] == {"dataset": digest(dataset), "base_model": digest(policy_folder)}
    assert any(json.dumps(counts, sort_keys=True, separators=(",", ":")) in message for message in caplog.messages)
    assert sorted(PROMPTS.read(output)["prompt"].to_pylist()) == sorted(row["prompt"] for row in LINES)


def test_parquet_and_json_lines_give_the_same_prompts(collect: Collect, tmp_path: Path) -> None:
    texts = ["a", None, "c\u0000d", "🦙 שלום", "e" * 100_000, "<|eot_id|>"]
    lines = collect(write_lines(tmp_path / "data.jsonl", [{"text": text} for text in texts]), column="text")
    from_lines = PROMPTS.read(lines)
    pq.write_table(pa.table({"other": [1] * 6, "text": texts}), tmp_path / "data.parquet")
    assert PROMPTS.read(collect(tmp_path / "data.parquet", column="text")).equals(from_lines)
    assert set(from_lines["prompt"].to_pylist()) == {"a", "c\u0000d", "🦙 שלום", "<|eot_id|>"}


def test_a_column_of_mixed_types_counts_what_is_not_text(collect: Collect, tmp_path: Path) -> None:
    dataset = write_lines(tmp_path / "data.jsonl", [{"prompt": value} for value in ("a", 3, None, ["b"], {"c": "d"})])
    assert read_provenance(collect(dataset))["counts"]["dropped"]["not_text"] == 4


def test_too_few_prompts_are_an_error_that_says_how_many(collect: Collect, tmp_path: Path) -> None:
    dataset = write_lines(tmp_path / "data.jsonl", [*LINES, {"prompt": None}])
    with pytest.raises(UserError, match=r"1 not_text.*there are 20 prompts.*\(16\).*\(5\) ask for 21"):
        collect(dataset, "--train", "16", "--test", "5")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no prompt is left"):
        collect(write_lines(tmp_path / "none.jsonl", [{"prompt": None}]))


def test_missing_column_is_an_error_that_names_the_columns(collect: Collect, tmp_path: Path) -> None:
    dataset = write_lines(tmp_path / "data.jsonl", [{"question": "a", "answer": "b"}])
    with pytest.raises(UserError, match=r"prompts\.column: .*no column 'prompt'; there are 'question', 'answer'"):
        collect(dataset)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.jsonl", b'{"prompt": "a"}\n{"prompt": "b"\n{"prompt": "c"}\n', r"row 1 \(line 2\) is not a JSON object"),
        ("data.jsonl", b'{"prompt": "a"}\n\n{"prompt": "\xff"}\n', r"row 2 \(line 3\) is not a JSON object: 'utf-8'"),
        ("data.jsonl", b'{"prompt": "a\\ud800"}\n', r"row 0 \(line 1\) is not a JSON object: .*surrogates"),
        ("data.jsonl", b'"a"\n"b"\n', r"row 0 \(line 1\) is not a JSON object: it is 'a'"),
        ("data.jsonl", b"", "the file is empty"),
        ("data.parquet", b"PAR1 no Parquet", "cannot be read as Parquet"),
        ("data.csv", b"prompt\na\n", r"suffixes \.parquet, \.jsonl, \.json"),
    ],
)
def test_unreadable_files(collect: Collect, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        collect(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_missing_files_and_models(
    collect: Collect, tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl: there is no such file"):
        collect(tmp_path / "absent.jsonl")
    dataset = write_lines(tmp_path / "data.jsonl", LINES)
    with pytest.raises(UserError, match=r"no model in this folder"):
        collect(dataset, "--base-model", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["x", "--spec", spec_json(), "--base-model", str(policy_folder), "--output", "x"])
    with pytest.raises(UserError, match="no dataset"):
        collect_prompts.main()


def test_flags_without_a_value_take_the_spec(
    tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_lines(tmp_path / "data.jsonl", LINES)
    spec = spec_json(dataset=str(dataset), model=ModelSource(name=str(policy_folder)))
    output = tmp_path / "prompts.parquet"
    arguments = ["--spec", spec, "--dataset", "--base-model", "--train", "1", "--test", "1", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["collect_prompts.py", *arguments])
    collect_prompts.main()
    assert len(PROMPTS.read(output)) == len(LINES)


def test_split_of_a_dataset_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands for the repository on the hub, which `datasets` treats alike."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    repository = tmp_path / "repository"
    repository.mkdir()
    pq.write_table(pa.table({"prompt": ["a"]}), repository / "train.parquet")
    pq.write_table(pa.table({"prompt": ["b", "c"]}), repository / "test.parquet")
    dataset, _ = dataset_files.open_hub(str(repository), None, "test", None)
    assert list(dataset["prompt"]) == ["b", "c"]
    with pytest.raises(UserError, match=r"split 'dev' of the dataset .*train.*test"):
        dataset_files.open_hub(str(repository), None, "dev", None)
    with pytest.raises(UserError, match=r"split 'train' of the dataset 'nobody/nothing' at revision 'main' cannot"):
        dataset_files.open_hub("nobody/nothing", None, "train", "main")


def test_subset_of_a_dataset_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("en", "de"):
        pq.write_table(pa.table({"prompt": [name]}), repository / f"{name}.parquet")
    subsets = "".join(f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in ("en", "de"))
    (repository / "README.md").write_text(f"---\nconfigs:\n{subsets}---\n")
    dataset, _ = dataset_files.open_hub(str(repository), "de", "train", None)
    assert list(dataset["prompt"]) == ["de"]
    with pytest.raises(UserError, match=r"cannot be loaded: (?s:.*)'en'.*'de'"):
        dataset_files.open_hub(str(repository), None, "train", None)


def test_program_leaves_the_cache_alone_and_gives_equal_bytes(tmp_path: Path, policy_folder: Path) -> None:
    dataset = write_lines(tmp_path / "data.jsonl", LINES)
    outputs = []
    for number in range(2):
        home = tmp_path / f"home-{number}"
        output = tmp_path / f"prompts-{number}.parquet"
        command = [
            sys.executable, collect_prompts.__file__, "--spec", spec_json(), "--dataset", str(dataset),
            "--base-model", str(policy_folder), "--output", str(output),
        ]  # fmt: skip
        done = subprocess.run(command, env={**os.environ, "HF_HOME": str(home)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "prompts: 20 of 20 rows" in done.stderr
        assert not home.exists() or not [path for path in home.rglob("*") if path.is_file()]
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


def test_program_ends_with_a_sentence(tmp_path: Path, policy_folder: Path) -> None:
    command = [sys.executable, collect_prompts.__file__, "--spec", "{}", "--output", str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: --spec:") and "Traceback" not in done.stderr
