"""Which texts become prompts, and their order."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collecting import DEFAULTS, collected_prompts
from rlhf.base.errors import UserError
from rlhf.datasets.conversations import normalise_prompt
from rlhf.prompts.collection import Collection
from rlhf.prompts.schema import CHATS, PROMPTS, duplicate_key, prompt_id
from rlhf.prompts.settings import CollectSpec
from rlhf.prompts.split_sizes import check_split_sizes, require_split_sizes
from rlhf.tokens.chat import encode_prompt
from small_tokenizers import CHATML, small_tokenizer

TOKENIZER = small_tokenizer()
OVERHEAD = len(encode_prompt(TOKENIZER, ""))
VALUES = st.lists(
    st.one_of(
        st.none(), st.integers(), st.text(max_size=30), st.sampled_from(["Hi", "hi ", "HI\n", "a  b", "a b", " "])
    ),
    max_size=12,
)


def collected(texts: Sequence[object], seed: int = 1, max_tokens: int = 200) -> Collection:
    return collected_prompts(texts, TOKENIZER, seed=seed, max_tokens=max_tokens)


def table(collection: Collection) -> pa.Table:
    return pa.concat_tables(collection.kept.tables())


def prompts(collection: Collection) -> list[str]:
    return table(collection)["prompt"].to_pylist()


def collect_spec(**changes: object) -> CollectSpec:
    return CollectSpec.model_validate({**DEFAULTS, "max_tokens": 9, **changes})


def test_each_reason_is_counted_once() -> None:
    texts = ["Hello", None, 3, ["x"], "", " \r\n ", "hello ", "HELLO", "Hello\tworld", "hello  WORLD", "x" * 500]
    collection = collected(texts)
    assert collection.dropped == {"not_text": 3, "empty": 2, "duplicate": 3, "too_long": 1}
    assert collection.counts == {"rows": 11, "prompts": 2, "dropped": collection.dropped}
    assert sorted(prompts(collection)) == ["Hello", "Hello\tworld"]


def test_normalisation() -> None:
    assert normalise_prompt(" \ta\r\nb\rc\n\n") == "a\nb\nc"
    assert normalise_prompt("e\u0301") == "é"
    assert normalise_prompt("\u00a0 a b \u3000") == "a b"


@given(text=st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_prompt(text)
    assert normalise_prompt(once) == once
    assert unicodedata.is_normalized("NFC", once) and "\r" not in once and once == once.strip()


def test_prompt_id_is_the_start_of_the_hash_of_the_text() -> None:
    collection = collected(["Grüße \r\n 🦙"])
    assert table(collection)["prompt_id"].to_pylist() == [hashlib.sha256("Grüße \n 🦙".encode()).hexdigest()[:16]]


def test_order_is_by_hash_of_seed_and_identity() -> None:
    texts = [f"prompt {number}" for number in range(50)]
    for seed in (1, 2):
        expected = sorted(texts, key=lambda t: hashlib.sha256(f"{seed}\0{prompt_id(t)}".encode()).hexdigest())
        assert prompts(collected(texts, seed)) == expected
    assert prompts(collected(texts, 1)) != prompts(collected(texts, 2))


@given(values=VALUES, extra=VALUES, seed=st.integers())
@settings(deadline=None, max_examples=100)
def test_counts_add_up_and_duplicates_are_gone(values: list[object], extra: list[object], seed: int) -> None:
    collection = collected(values, seed, max_tokens=OVERHEAD + 20)
    PROMPTS.check(table(collection), Path("prompts.parquet"))
    assert len(table(collection)) + sum(collection.dropped.values()) == len(values)
    kept = prompts(collection)
    assert len({duplicate_key(prompt) for prompt in kept}) == len(kept)
    assert set(kept) <= {normalise_prompt(value) for value in values if isinstance(value, str)}
    assert all(len(ids) <= OVERHEAD + 20 for ids in table(collection)["prompt_token_ids"].to_pylist())
    # More rows at the end of the dataset put prompts between the others, and change neither them nor their order.
    longer = prompts(collected([*values, *extra], seed, max_tokens=OVERHEAD + 20))
    assert [prompt for prompt in longer if prompt in set(kept)] == kept


@given(texts=st.lists(st.text(alphabet="abcdefgh", min_size=1, max_size=8), unique=True), data=st.data())
@settings(deadline=None, max_examples=50)
def test_the_order_of_the_dataset_does_not_matter(texts: Sequence[object], data: st.DataObject) -> None:
    assert table(collected(data.draw(st.permutations(texts)))).equals(table(collected(texts)))


def test_length_counts_the_template_and_the_system_prompt() -> None:
    length = len(encode_prompt(TOKENIZER, "what is this?", "Be brief."))
    for limit, kept in ((length, 1), (length - 1, 0)):
        collection = collected_prompts(["what is this?"], TOKENIZER, CHATS, system="Be brief.", max_tokens=limit)
        assert (len(table(collection)), collection.dropped["too_long"]) == (kept, 1 - kept)


def test_token_ids_are_those_of_the_prompt() -> None:
    collection = collected(["what is <|eot_id|>?", "שלום", "🦙" * 10])
    for row in table(collection).to_pylist():
        assert row["prompt_token_ids"] == encode_prompt(TOKENIZER, row["prompt"])


def test_no_prompts_are_an_empty_table() -> None:
    assert table(collected([None])).schema == PROMPTS.schema


def test_an_error_in_encoding_names_the_row() -> None:
    tokenizer = small_tokenizer("chatml", CHATML.replace("message['content']", "message['content'].replace('a', 'b')"))
    with pytest.raises(UserError, match=r"row 2 of the dataset: .* changes the text .*'a <\|im_end\|>'"):
        collected_prompts([None, "c", "a <|im_end|>"], tokenizer)


def test_split_sizes() -> None:
    require_split_sizes(3, 2, 1, "here", {})
    with pytest.raises(UserError, match=r"here .*: there are 3 prompts.*\(2\).*\(2\) ask for 4"):
        require_split_sizes(3, 2, 2, "here", {})


@pytest.mark.parametrize(
    ("dropped", "remedy"),
    [
        ({"not_text": 9, "too_long": 1}, "set `prompts.column` to a column of texts"),
        ({"not_text": 1, "too_long": 9}, "raise `prompts.max_tokens`"),
        ({"duplicate": 9}, "use a larger dataset"),
        ({"too_long": 1}, "Lower them, or use a larger dataset"),
    ],
)
def test_the_advice_follows_the_main_drop_reason(dropped: dict[str, int], remedy: str) -> None:
    """Longer prompts do not help with a column that is not text."""
    with pytest.raises(UserError, match=f"there are 3 prompts.*{remedy}"):
        require_split_sizes(3, 2, 2, "here", dropped)
    others = {"prompts.column", "prompts.max_tokens", "larger dataset"} - {word for word in [remedy] if word}
    with pytest.raises(UserError) as caught:
        require_split_sizes(3, 2, 2, "here", dropped)
    assert sum(word in str(caught.value) for word in others) == 1


def test_split_sizes_are_checked_against_prompts_of_the_same_spec(tmp_path: Path) -> None:
    path = tmp_path / "prompts.parquet"
    spec = collect_spec()
    check_split_sizes(path, 100, 100, spec)  # nothing there yet
    PROMPTS.write(path, table(collected(["a", "b", "c"])), {"spec": json.loads(spec.model_dump_json())})
    check_split_sizes(path, 2, 1, spec)
    check_split_sizes(path, 100, 100, collect_spec(max_tokens=10))  # will be collected again
    with pytest.raises(UserError, match=re.escape(f"{path} (dropped: ): there are 3 prompts")):
        check_split_sizes(path, 2, 2, spec)
