"""Wrong configurations, as a new user may write them: each is stopped by a sentence with key, value and what may be.

What the plan looks at before any job is looked at here in process; tests/rules/test_wrong_input.py has a few through
`snakemake -n`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import BaseModel

from experiments import patch
from rlhf.base.errors import UserError
from rlhf.responses.imported_draws import OWN_RESPONSES
from workflow.experiment import Experiment, load_experiment
from workflow.planning.checks.scorers import check_functions, check_judges, check_kept_columns
from workflow.planning.checks.sources import check_sources
from workflow.planning.memory_check import check_memory
from workflow.planning.model_checks import check_models
from wrong_benchmarks import BENCHMARKS
from wrong_changes import HUGE, INFINITE, LONG, NAN, benchmark, function, imported
from wrong_chats import CHATS
from wrong_examples import EXAMPLES
from wrong_imports import IMPORTS
from wrong_iterations import ITERATIONS
from wrong_losses import LOSSES
from wrong_publishing import PUBLISHING
from wrong_rewards import CHECKED
from wrong_settings import SETTINGS
from wrong_several_pairs import SEVERAL_PAIRS
from wrong_sources import PUBLISHED, SOURCES
from wrong_thoughts import THOUGHTS

CONFIG = Path(__file__).resolve().parents[3] / "config"
CONFIGS = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIG.glob("*.yaml")}
CASES = [
    *(("micro", *case) for case in [*SETTINGS, *SOURCES, *BENCHMARKS, *PUBLISHING, *ITERATIONS]),
    *(("micro", *case) for case in [*CHATS, *THOUGHTS, *CHECKED, *LOSSES, *EXAMPLES, *IMPORTS, *SEVERAL_PAIRS]),
    *(("llama3-8b-ultrafeedback", *case) for case in PUBLISHED),
]


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, datasets and modules that the cases name."""
    folder = tmp_path_factory.mktemp("wrong")
    good = lines({"prompt": "a"}, {"prompt": "b"})
    files = {
        "empty.jsonl": b"",
        "blank.jsonl": b"\n \n",
        "cut.jsonl": good + b'{"prompt": "c',
        "list.jsonl": lines({"prompt": "a"}, ["b"]),
        "utf16.jsonl": good.decode().encode("utf-16"),
        "latin.jsonl": '{"prompt": "größe"}\n'.encode("latin-1"),
        "text.jsonl": lines({"text": "a"}),
        "messages.jsonl": lines({"prompt": [{"role": "user", "content": "a"}], "source": "x"}),
        "wide.jsonl": lines({"prompt": "a", "response_0": "x", "response_1": "y"}),
        "pairs.jsonl": lines({"prompt": "a", "chosen": "x", "rejected": "y", "n": 1}),
        "pairs/train.jsonl": lines({"prompt": "a", "chosen": "x", "rejected": "y"}),
        "turns.jsonl": lines({"turns": ["a", "b"], "messages": [{"role": "user", "content": "a"}]}),
        "data.csv": b"prompt\na\n",
        "empty.parquet": b"",
        "chats.jsonl": b'{"messages": [{"role": "user", "content": "a"}], "answer": 4, "tags": ["b"]}\n',
        "mine.py": b"NUMBER = 3\ndef good(prompts, responses): return []\ndef three(a, b, c): return []\n",
        "broken.py": b"def score(prompts, responses): return []\nHALF = 1 / 0\n",
        "needs.py": b"import there_is_none\ndef score(prompts, responses): return []\n",
        "broken_model/config.json": b'{"hidden_size": ',
        "short_model/config.json": b'{"max_position_embeddings": 64}',
        "no_weights/config.json": b"{}",
        "no_tokenizer/config.json": b"{}",
        "no_tokenizer/model.safetensors": b"",
        "no_template/config.json": b"{}",
        "no_template/model.safetensors": b"",
        "no_template/tokenizer.json": b"{}",
        "no_template/tokenizer_config.json": b'{"bos_token": "x"}',
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (folder / "empty_folder").mkdir()
    messages = pa.table({"prompt": ["a"], "messages": [[{"role": "user", "content": "a"}]]})
    pq.write_table(messages, folder / "messages.parquet")
    pq.write_table(pa.table({"prompt": ["a"], "number": [3]}), folder / "numbers.parquet")
    (folder / "responses").mkdir()
    pq.write_table(pa.Table.from_pylist([dict.fromkeys(OWN_RESPONSES, "x")]), folder / "responses/train-000.parquet")
    pq.write_table(messages.slice(1), folder / "no_rows.parquet")
    (folder / "cut.parquet").write_bytes((folder / "messages.parquet").read_bytes()[:-20])
    return folder


@pytest.fixture(autouse=True)
def in_the_working_folder(
    working_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.chdir(working_folder)
    monkeypatch.setenv("HF_HOME", str(working_folder / "no_cache"))  # of the models only what the repository ships
    yield


def plan(config: dict[str, Any], *, functions: bool = True) -> None:
    """What the Snakefile asks of a configuration before any job."""
    experiment = load_experiment(config, "config/wrong.yaml")
    check_sources(experiment)
    check_kept_columns(experiment)
    check_models(experiment)
    if functions:  # each in a process of its own
        check_functions(experiment)
        check_judges(experiment)
    check_memory(experiment, experiment.hardware.train_policy)


@pytest.mark.parametrize(
    ("base", "changes", "said"), CASES, ids=[f"{next(iter(changes))}-{said[0][:40]}" for _, changes, said in CASES]
)
def test_a_wrong_configuration_is_stopped_by_a_sentence(base: str, changes: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        plan(patch(CONFIGS[base], changes))
    message = str(caught.value)
    for words in said:
        assert words in message
    assert max(map(len, message.splitlines())) < 1000


@pytest.mark.parametrize("base", ["micro", "config", "llama3-8b-ultrafeedback"])
def test_the_configurations_of_the_repository_pass(base: str) -> None:
    plan(CONFIGS[base])


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts.dataset": "wide.jsonl"},
        {"prompts.dataset": "messages.parquet"},
        {"prompts.dataset": "messages.jsonl"},
        {"prompts.dataset": "messages.parquet", "prompts.column": "messages"},
        {
            "prompts.dataset": "chats.jsonl",
            "prompts.column": "messages",
            "prompts.keep": ["answer", "tags"],
            "prompts.template": {"enable_thinking": False, "effort": ["low", None]},
            "responses.imported": {"dataset": "chats.jsonl", "column": "messages"},
        },
        benchmark(dataset="turns.jsonl", column="turns"),
        benchmark(dataset="wide.jsonl"),
        benchmark(dataset="a/b", file="folder/questions.jsonl", revision="main"),
        {**imported(dataset="wide.jsonl"), "responses.draws": 2},
        function("mine:good"),
        {"training.lora": {"targets": ["q_proj", "down_proj"]}},
        {"responses.max_model_len": 88},
        {"rewards": {"kind": "armo", "model": "{results}/world/reward_model"}},
    ],
    ids=str,
)
def test_what_is_right_passes(changes: dict[str, Any]) -> None:
    plan(patch(CONFIGS["micro"], changes))


def test_a_package_that_only_the_jobs_environment_has_is_no_error() -> None:
    plan(patch(CONFIGS["micro"], {"environments": "conda", **function("needs:score")}))


def test_there_are_150_of_them() -> None:
    assert len(CASES) >= 150


JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    3,
    HUGE,
    -HUGE,
    1e-320,
    1e308,
    INFINITE,
    NAN,
    "",
    "x",
    LONG,
    "\x00",
    "{results}/x",
]
JUNK += [[], [None], {}, {"a": 1}, {1: 2}, {None: None}, {"name": "dpo"}, {"kind": "function"}, b"x", "1e5"]


def every_key(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The keys of a settings class and of those inside it; of variants, those of `rebel`."""
    for name, field in model.model_fields.items():
        yield prefix + name
        inner = f"{prefix}{name}.rebel." if name == "variants" else f"{prefix}{name}."
        for nested in models_in(field.annotation):
            yield from every_key(nested, inner)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


@pytest.mark.parametrize("base", ["micro", "llama3-8b-ultrafeedback"])
def test_junk_at_every_key_is_no_traceback(base: str) -> None:
    """It may be what is allowed; if not, it is a sentence, and a short one."""
    keys = sorted(set(every_key(Experiment)))
    assert len(keys) > 150
    for key in keys:
        for junk in JUNK:
            try:
                plan(patch(CONFIGS[base], {key: junk}), functions=False)
            except UserError as error:
                assert len(str(error)) < 3000
