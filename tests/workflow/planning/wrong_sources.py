"""Models, datasets and functions that are not there or cannot be used; and models that do not fit the settings."""

from wrong_changes import LONG, Case, benchmark, function, imported, scorer, two_scorers

SOURCES: list[Case] = [
    # beyond the context of the tiny models
    (
        {"responses.max_tokens": 500},
        ["responses.max_tokens: it is 500", "prompts.max_tokens (64)", "564", "context of 512", "at most 448"],
    ),
    ({"prompts.max_tokens": 600}, ["prompts.max_tokens (600)", "context of 512", "a lower prompts.max_tokens"]),
    ({"rewards.max_tokens": 4096}, ["rewards.max_tokens: it is 4096", "512", "at most that"]),
    # models and datasets that are not there, or cannot be used
    ({"base_model.name": ""}, ["base_model.name: ", "''", "at least 1 character"]),
    ({"base_model.name": "./models/none"}, ["base_model.name: './models/none'", "no such folder", "owner/name"]),
    ({"base_model.name": "a/b/c"}, ["base_model.name: 'a/b/c'", "no hub name (owner/name)"]),
    ({"base_model.name": LONG}, ["base_model.name: 'xxx", "no hub name (owner/name)"]),
    ({"base_model.name": "empty_folder"}, ["base_model.name: 'empty_folder'", "no config.json"]),
    ({"base_model.name": "broken_model"}, ["base_model.name: 'broken_model'", "config.json is damaged"]),
    (
        {"base_model": {"name": "short_model", "revision": "main"}},
        ["base_model.name: 'short_model'", "a local folder has no revision", "`revision: main`"],
    ),
    ({"base_model.name": "no_weights"}, ["base_model.name: 'no_weights'", "no weights", "*.safetensors"]),
    ({"rewards.model": "no_weights"}, ["rewards.model: 'no_weights'", "no weights", "*.safetensors"]),
    ({"base_model.name": "no_tokenizer"}, ["base_model.name: 'no_tokenizer'", "no tokenizer", "tokenizer.json"]),
    ({"base_model.name": "no_template"}, ["base_model.name: 'no_template'", "no chat template", "instruction-tuned"]),
    ({"base_model": {"name": "a/b", "revision": ""}}, ["base_model.revision: it is ''", "null"]),
    ({"rewards.model": "no such"}, ["rewards.model: 'no such'", "owner/name"]),
    (
        two_scorers(scorer={"kind": "armo", "model": "./none"}),
        ["rewards.scorers.a.scorer.model: './none'", "no such folder"],
    ),
    ({"prompts.dataset": ""}, ["prompts.dataset: ", "''"]),
    ({"prompts.dataset": "none.jsonl"}, ["prompts.dataset: 'none.jsonl'", "no such file"]),
    ({"prompts.dataset": "data.csv"}, ["prompts.dataset: 'data.csv'", ".parquet, .jsonl, .json"]),
    ({"prompts.dataset": "empty_folder"}, ["prompts.dataset: 'empty_folder'", "a folder", ".parquet, .jsonl, .json"]),
    ({"prompts.dataset": LONG}, ["prompts.dataset: 'xxx", "no hub name"]),
    ({"prompts.dataset": "empty.jsonl"}, ["prompts.dataset: empty.jsonl", "empty"]),
    ({"prompts.dataset": "blank.jsonl"}, ["prompts.dataset: blank.jsonl", "no rows"]),
    ({"prompts.dataset": "cut.jsonl"}, ["prompts.dataset: cut.jsonl", "last line", "truncated"]),
    ({"prompts.dataset": "list.jsonl"}, ["prompts.dataset: list.jsonl: row 1 (line 2)", "not a JSON object"]),
    ({"prompts.dataset": "utf16.jsonl"}, ["prompts.dataset: utf16.jsonl", "UTF-8"]),
    ({"prompts.dataset": "latin.jsonl"}, ["prompts.dataset: latin.jsonl: row 0", "UTF-8"]),
    ({"prompts.dataset": "text.jsonl"}, ["prompts.column: there is no column 'prompt' in text.jsonl", "'text'"]),
    ({"prompts.dataset": "cut.parquet"}, ["prompts.dataset: cut.parquet", "truncated, damaged"]),
    ({"prompts.dataset": "empty.parquet"}, ["prompts.dataset: empty.parquet", "empty"]),
    ({"prompts.dataset": "no_rows.parquet"}, ["prompts.dataset: no_rows.parquet", "no rows"]),
    (
        {"prompts.dataset": "numbers.parquet", "prompts.column": "number"},
        ["prompts.column: the column 'number'", "holds int64, not text or lists of turns", "'prompt'"],
    ),
    (
        {"prompts.dataset": "messages.parquet", "prompts.column": "prompts"},
        ["prompts.column: there is no column 'prompts'", "'prompt'"],
    ),
    # benchmarks
    (
        benchmark(dataset="none.jsonl"),
        ["prompts.decontaminate.0.dataset: 'none.jsonl'", "no such file"],
    ),
    (benchmark(dataset="no such"), ["prompts.decontaminate.0.dataset: 'no such'", "owner/name"]),
    (benchmark(dataset="empty.jsonl"), ["prompts.decontaminate.0.dataset: empty.jsonl", "empty"]),
    (benchmark(dataset="no_rows.parquet"), ["prompts.decontaminate.0.dataset: no_rows.parquet", "no rows"]),
    (benchmark(dataset="cut.jsonl"), ["prompts.decontaminate.0.dataset: cut.jsonl", "last line", "truncated"]),
    (
        {"prompts.decontaminate": [{"dataset": "a/b"}, {"dataset": "turns.jsonl"}]},
        [
            "prompts.decontaminate.1.column: there is no column 'prompt' in turns.jsonl",
            "text or lists of text: 'turns'",
        ],
    ),
    (
        benchmark(dataset="turns.jsonl", column="messages"),
        [
            "prompts.decontaminate.0.column: the column 'messages'",
            "holds lists of turns, not text or lists of text",
            "'turns'",
        ],
    ),
    (
        benchmark(dataset="messages.parquet", column="messages"),
        ["prompts.decontaminate.0.column: the column 'messages'", "not text or lists of text", "'prompt'"],
    ),
    (
        {"prompts.dataset": "turns.jsonl", "prompts.column": "turns"},
        ["prompts.column: the column 'turns' of turns.jsonl holds lists of text, not text"],
    ),
    (
        benchmark(dataset="wide.jsonl", revision="main"),
        ["prompts.decontaminate.0.revision: it is 'main', and 'wide.jsonl' is a local file: leave it out"],
    ),
    (
        benchmark(dataset="wide.jsonl", file="a.jsonl"),
        ["prompts.decontaminate.0.file: ", "'wide.jsonl' is a local file"],
    ),
    (
        benchmark(dataset="wide.jsonl", subset="en"),
        ["prompts.decontaminate.0.subset: ", "'wide.jsonl' is a local file"],
    ),
    (imported(), ["responses.imported.dataset: this key is missing"]),
    (imported(dataset="none.parquet"), ["responses.imported.dataset: 'none.parquet'", "no such file"]),
    (
        imported(dataset="wide.jsonl"),
        ["responses.draws: wide.jsonl", "'response_2'", "set `responses.draws: 2`"],
    ),
    (
        {**imported(dataset="wide.jsonl", rewards=True), "responses.draws": 2},
        ["responses.imported.rewards: wide.jsonl", "'response_0_reward'", "set `false`"],
    ),
    (
        imported(dataset="wide.jsonl", column="text"),
        ["responses.imported.column: wide.jsonl", "'text'", "'prompt'"],
    ),
    # functions of the user
    (function("score"), ["rewards.function: ", "'score'", "`module:function`"]),
    (function("a:b:c"), ["rewards.function: ", "'a:b:c'", "`module:function`"]),
    (function("a..b:c"), ["rewards.function: ", "'a..b:c'", "`module:function`"]),
    (function(5), ["rewards.function: must be text", "5"]),
    (scorer(kind="function"), ["rewards.function: this key is missing", "`module:function`"]),
    (function("nowhere:score"), ["rewards.function: function 'nowhere:score'", "no module 'nowhere'"]),
    (function("mine.py:good"), ["rewards.function: function 'mine.py:good'", "'mine'", "without `.py`"]),
    (function("mine:god"), ["rewards.function: function 'mine:god'", "Did you mean 'good'?", "It defines: good"]),
    (function("mine:NUMBER"), ["rewards.function: function 'mine:NUMBER'", "is not a function"]),
    (function("mine:three"), ["rewards.function: function 'mine:three'", "(a, b, c)", "one list, the records"]),
    (function("broken:score"), ["rewards.function: function 'broken:score'", "broken.py, line 2: HALF = 1 / 0"]),
    (
        scorer(kind="llm", url="http://localhost:1/v1", model="m", template="none.jinja"),
        ["rewards: there is no file 'none.jinja'", "or null"],
    ),
    (
        {"evaluation.difficulty_comparisons": ["results/none/comparisons.parquet"]},
        ["evaluation.difficulty_comparisons.0: there is no file 'results/none/comparisons.parquet'", "has run"],
    ),
    ({"reuse": ["results/none"]}, ["reuse.0: there is no folder 'results/none'", "a folder with those", "hub:owner"]),
    ({"reuse": ["hub:mine"]}, ["reuse.0: 'hub:mine' is no dataset of the hub", "`hub:owner/name[@commit]`"]),
    (
        {"evaluation.judge": {"kind": "function", "function": "needs:score"}},
        ["evaluation.judge.function: function 'needs:score'", "No module named 'there_is_none'", "needs.py, line 1"],
    ),
]
PUBLISHED: list[Case] = [
    (
        {"responses.max_tokens": 7500},
        ["responses.max_tokens: it is 7500", "prompts.max_tokens (1024)", "context of 8192", "at most 7168"],
    ),
    ({"responses.max_model_len": 9000}, ["responses.max_model_len: it is 9000", "8192", "or null"]),
    (
        {"prompts.max_tokens": 9000},
        ["responses.max_tokens: ", "prompts.max_tokens (9000)", "a lower prompts.max_tokens"],
    ),
    ({"rewards.max_tokens": 10_000}, ["rewards.max_tokens: it is 10000", "8192", "at most that"]),
    ({"hardware.generate_responses.gpu": 3}, ["hardware.generate_responses.gpu: it is 3", "32", "1, 2, 4, 8, 16, 32"]),
    (
        {"training.lora": {"targets": ["q_prj"]}},
        ["training.lora.targets: ", "'q_prj'", "Did you mean 'q_proj'?", "'all-linear'"],
    ),
    (
        {"variants.dpo.lora": {"targets": ["q_proj", "query"]}},
        ["variants.dpo.lora.targets: ", "'query'", "down_proj, gate_proj, k_proj"],
    ),
    ({"hardware.train_policy": {"gpu": 1}}, ["hardware.train_policy, variant rebel", "80 GB"]),
    ({"hardware.train_policy.token_budget": 100_000}, ["hardware.train_policy, variant ", "100000 tokens", "80 GB"]),
]
