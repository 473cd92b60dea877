"""The program that imports pairs: every form of the same pairs, the real tokenizer, the pipeline's own pairs."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

import import_pairs
from rlhf.base.artifacts import read_provenance
from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.base.provenance import digest
from rlhf.pairs.imported.settings import ImportPairsSpec
from rlhf.pairs.schema import PAIRS, UNSCORED_PAIRS, read_pair_table
from rlhf.prompts.schema import PROMPTS, prompt_id
from rlhf.tokens.chat import encode_prompt
from small_tokenizers import small_tokenizer

SCORES = {"chosen_score": "chosen_reward", "rejected_score": "rejected_reward"}


def run_program(
    monkeypatch: pytest.MonkeyPatch, dataset: Path, prompts: Path, policy: Path, output: Path, **changes: Any
) -> Path:
    values: dict[str, Any] = {"dataset": str(dataset), "dataset_fingerprint": "x", "revision": None, "subset": None}
    values.update(split="train", column="prompt", chosen="chosen", rejected="rejected", min_margin=0.0, model=None)
    values.update(chosen_score=None, rejected_score=None, rows=Rows(start=0, stop=3), max_tokens=1024)
    spec = ImportPairsSpec.model_validate({**values, **changes}).model_dump_json()
    arguments = ["--spec", spec, "--prompts", str(prompts), "--tokenizer", str(policy), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["import_pairs.py", *arguments])
    import_pairs.main()
    return output


def write_prompts(folder: Path, texts: list[str], tokenizer: Any) -> Path:
    rows = [
        {"prompt_id": prompt_id(text), "prompt": text, "prompt_token_ids": encode_prompt(tokenizer, text)}
        for text in texts
    ]
    PROMPTS.write(folder / "prompts.parquet", rows, {})
    return folder / "prompts.parquet"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def forms_of(rows: list[tuple[str, str, str]]) -> dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Prompt, chosen and rejected as datasets have them, and what the settings say of each."""

    def user(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    def answer(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    def shared(prompt: str, text: str) -> list[dict[str, str]]:
        return [{"from": "human", "value": prompt}, {"from": "gpt", "value": text}]

    whole = [{"prompt": p, "chosen": user(p) + answer(c), "rejected": user(p) + answer(r)} for p, c, r in rows]
    return {
        "text": ([{"prompt": p, "chosen": c, "rejected": r} for p, c, r in rows], {}),
        "renamed": ([{"question": p, "good": c, "bad": r} for p, c, r in rows],
                    {"column": "question", "chosen": "good", "rejected": "bad"}),
        "binarized": (whole, {}),
        "implicit": ([{"chosen": row["chosen"], "rejected": row["rejected"]} for row in whole], {"column": "chosen"}),
        "explicit": ([{"prompt": user(p), "chosen": answer(c), "rejected": answer(r)} for p, c, r in rows], {}),
        "sharegpt": ([{"prompt": p, "chosen": shared(p, c), "rejected": shared(p, r)} for p, c, r in rows],
                     {"turns": "from_value"}),
    }  # fmt: skip


def test_every_form_gives_the_ids_of_the_whole_conversation_by_the_real_template(
    tmp_path: Path, real_responses: Path, llama3_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama3_tokenizer_folder)
    policy = tmp_path / "policy"
    tokenizer.save_pretrained(policy)
    (policy / "config.json").write_text(json.dumps({"model_type": "llama"}))
    source = pq.read_table(real_responses).slice(0, 60).to_pylist()
    rows = [(row["prompt"].strip(), f" {row['response_0']}\n", row["response_1"]) for row in source]
    prompts = write_prompts(tmp_path, [prompt for prompt, _, _ in rows], tokenizer)
    part: dict[str, Any] = {"rows": Rows(start=0, stop=60), "max_tokens": 2048}
    tables = []
    for name, (dataset, changes) in forms_of(rows).items():
        for suffix in ("jsonl", "parquet"):
            path = tmp_path / f"{name}.{suffix}"
            write(path, dataset) if suffix == "jsonl" else pq.write_table(pa.Table.from_pylist(dataset), path)
            output = tmp_path / f"{name}-{suffix}.out.parquet"
            run_program(monkeypatch, path, prompts, policy, output, **part, **changes)
            tables.append(UNSCORED_PAIRS.read(output))
            counts = read_provenance(output)["counts"]
            assert counts["prompts"] == 60 == counts["pairs"] + sum(counts["dropped"].values())
    assert all(table.equals(tables[0]) for table in tables)
    texts = {prompt_id(prompt): (prompt, chosen, rejected) for prompt, chosen, rejected in rows}
    assert len(tables[0]) > 50
    for row in tables[0].to_pylist():
        prompt, *answers = texts[row["prompt_id"]]
        for side, text in zip(("chosen", "rejected"), answers, strict=True):
            messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
            expected = tokenizer.apply_chat_template(messages, return_dict=False)
            assert row["prompt_token_ids"] + row[f"{side}_token_ids"] == expected
            assert row[side] == text.strip()


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write_prompts(tmp_path, ["a", "b", "c"], small_tokenizer())


def test_what_is_stated(tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("a", "1", "2"), ("b", "3", "3"), ("other", "4", "5"), ("a", "6", "7")]
    dataset = write(tmp_path / "data.jsonl", forms_of(rows)["text"][0])
    output = run_program(monkeypatch, dataset, prompts, policy_folder, tmp_path / "out.parquet")
    provenance = read_provenance(output)
    assert provenance["inputs"] == {
        "prompts": digest(prompts), "dataset": digest(dataset), "tokenizer": digest(policy_folder)
    }  # fmt: skip
    counts = provenance["counts"]
    assert (counts["pairs"], counts["dropped"]["identical"], counts["dropped"]["no_row"]) == (1, 1, 1)
    assert (counts["duplicate_rows"], counts["encoded_again"], provenance["revisions"]) == (1, 0, {})
    table = read_pair_table(output)
    assert table.schema.remove_metadata() == PAIRS.schema, "as other files of pairs, so that they can be mixed"
    assert str(table["chosen_reward"][0].as_py()) == "nan"


def own_pairs(folder: Path, **changes: Any) -> Path:
    """Pairs of another run, whose tokens are not those that a tokenizer would make of the text."""
    tokenizer = small_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    ids = {text: [*tokenizer.convert_tokens_to_ids(list(text)), end] for text in ("hello", "world")}
    row = {
        "prompt_id": prompt_id("b"), "prompt_token_ids": [9], "chosen": "hello", "rejected": "world",
        "chosen_token_ids": ids["hello"], "rejected_token_ids": ids["world"], "chosen_draw": 3, "rejected_draw": 1,
        "chosen_reward": 2.0, "rejected_reward": 1.0, "chosen_win_probability": 0.9, "rejected_win_probability": 0.2,
    }  # fmt: skip
    PAIRS.write(folder / "train-000.parquet", [{**row, **changes}], {"spec": {}, "inputs": {"prompts": "other"}})
    return folder / "train-000.parquet"


def test_pairs_of_another_run_are_read_back_exactly(
    tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    theirs = PAIRS.read(own_pairs(folder)).to_pylist()[0]
    for number, dataset in enumerate((folder, folder / "train-000.parquet")):
        output = tmp_path / f"out-{number}.parquet"
        run_program(monkeypatch, dataset, prompts, policy_folder, output, **SCORES)
        (ours,) = PAIRS.read(output).to_pylist()
        assert {**ours, "prompt_token_ids": [9]} == theirs
        assert ours["prompt_token_ids"] == encode_prompt(small_tokenizer(), "b")
        assert read_provenance(output)["counts"]["encoded_again"] == 0
    own_pairs(folder, chosen_token_ids=[5])
    run_program(monkeypatch, folder, prompts, policy_folder, output, **SCORES)
    (ours,) = PAIRS.read(output).to_pylist()
    assert ours["chosen_token_ids"] != theirs["chosen_token_ids"]
    assert ours["rejected_token_ids"] == theirs["rejected_token_ids"]
    assert read_provenance(output)["counts"]["encoded_again"] == 1


def test_a_damaged_file_of_another_run(
    tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_pairs(tmp_path)
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train-000\.parquet"):
        run_program(monkeypatch, path, prompts, policy_folder, tmp_path / "out.parquet", **SCORES)


def test_no_pair_at_all(tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error for train prompts; validation may be empty."""
    names = [f"prompt {number}" for number in range(20)]
    prompts = write_prompts(tmp_path, names, small_tokenizer())
    dataset = write(tmp_path / "data.jsonl", forms_of([("other", "1", "2")])["text"][0])
    output = tmp_path / "out.parquet"
    with pytest.raises(UserError, match=r"no prompt has a pair\. 20 of 20 prompts are not in the dataset: collect the"):
        run_program(monkeypatch, dataset, prompts, policy_folder, output, rows=Rows(start=0, stop=20))
    assert not output.exists()
    run_program(monkeypatch, dataset, prompts, policy_folder, output, rows=Rows(start=-20, stop=0))
    assert len(UNSCORED_PAIRS.read(output)) == 0
