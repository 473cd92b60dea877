"""Loading the user's reward function from the file whose digest is taken; each mistake is one sentence."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chats import conversations
from rlhf.base.errors import UserError
from rlhf.rewards.given.function_loading import load_function
from rlhf.rewards.given.function_scoring import score_by_function
from rlhf.rewards.scorer import Score

MODULES = {
    "my_rewards": """
NUMBER = 3

def words(prompts, responses):
    return [len(text.split()) for text in responses]

def none():
    return []

def keywords(prompts, *, responses):
    return prompts

def third(prompts, responses, model):
    return prompts

def optional(prompts, responses, model=None):
    return [1.0 for _ in responses]

async def later(prompts, responses):
    return [len(text) for text in responses]

def records(batch):
    return [len(one["prompt"]) + len(one["response"]) for one in batch]

def adjustable_records(batch, scale=2):
    return [scale * len(one["response"]) for one in batch]

async def later_records(batch):
    return [len(one["response"]) for one in batch]

def any_lists(*lists):
    return [len(lists) for _ in lists[0]]

class Lengths:
    def __call__(self, prompts, responses):
        return list(map(len, responses))

lengths = Lengths()

def raising(prompts, responses):
    return [1 / len(text) for text in responses]

def raising_late(prompts, responses):
    for text in responses:
        yield int(text)

async def raising_later(batch):
    return [int(one["response"]) for one in batch]
""",
    "my_syntax": "def words(prompts, responses)\n    return []\n",
    "my_imports": "import there_is_no_such_package\n",
    "my_zero": "FACTOR = 1\nHALF = FACTOR / 0\ndef words(prompts, responses): return []\n",
    "my_name": "def words(prompts, responses): return undefined\nwords.x = undefined_name\n",
    "my_exit": "import sys\nsys.exit('no licence')\n",
    "json": "def words(prompts, responses): return []\n",
    "my_package/__init__": "",
    "my_package/inner": "from my_package.other import words\n",
    "my_package/other": "def words(prompts, responses):\n    return [0.5 for _ in responses]\n",
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with modules of a user."""
    for name, text in MODULES.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    loaded = set(sys.modules)
    path_before = list(sys.path)
    yield tmp_path
    sys.path[:] = path_before
    for name in {name for name in sys.modules if name.startswith("my_")} - loaded:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("my_rewards:words", [2, 0]),
        ("my_rewards:optional", [1, 1]),
        ("my_rewards:lengths", [7, 0]),
        ("my_rewards:later", [7, 0]),
        ("my_rewards:any_lists", [2, 2]),
        ("my_rewards:records", [8, 1]),
        ("my_rewards:adjustable_records", [14, 0]),
        ("my_rewards:later_records", [7, 0]),
    ],
)
def test_a_function_by_name_gets_records_or_two_lists_by_its_signature(
    modules: Path, name: str, scores: list[float]
) -> None:
    assert scores_of(name, ("p", "one two"), ("p", "")) == [Score(float(score)) for score in scores]


def scores_of(name: str, *texts: tuple[str, str]) -> list[Score]:
    return score_by_function(load_function(name), conversations(texts))[0]


def test_a_function_of_a_package_that_imports_its_neighbour(modules: Path) -> None:
    assert scores_of("my_package.inner:words", ("p", "x")) == [Score(0.5)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:words", ["no module 'no_such_module' in ", "scripts or "]),
        ("my_rewards.py:words", ["no module 'my_rewards.py'", "without `.py`: 'my_rewards'"]),
        ("my_rewards:word", ["'word' is not defined in ", "my_rewards.py", "Did you mean 'words'?"]),
        ("my_rewards:NUMBER", ["'NUMBER' is not a function", "It defines: words, none"]),
        ("my_rewards:none", ["it takes ()", "one list, the records, or with two, the prompts and the responses"]),
        ("my_rewards:keywords", ["it takes (prompts, *, responses)"]),
        ("my_rewards:third", ["it takes (prompts, responses, model)", "'model'"]),
        ("my_syntax:words", ["SyntaxError", "my_syntax.py, line 1: def words(prompts, responses)"]),
        ("my_imports:words", ["No module named 'there_is_no_such_package'", "line 1: import there_is_no_such_package"]),
        ("my_zero:words", ["ZeroDivisionError: division by zero", "my_zero.py, line 2: HALF = FACTOR / 0"]),
        ("my_name:words", ["NameError", "my_name.py, line 2: words.x = undefined_name"]),
        ("my_exit:words", ["SystemExit: no licence", "my_exit.py, line 2"]),
        ("json:words", ["Python already has a module named 'json'", "rename your file"]),
    ],
)
def test_what_is_not_a_reward_function(modules: Path, name: str, said: list[str]) -> None:
    with pytest.raises(UserError, match=re.escape(f"function {name!r}: ")) as caught:
        load_function(name)
    for words in said:
        assert words in str(caught.value)


def test_what_runs_is_the_file_whose_digest_is_taken(
    modules: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module of the same name earlier on Python's path is ignored."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "my_rewards.py").write_text("def words(prompts, responses): return [-1.0 for _ in responses]\n")
    monkeypatch.syspath_prepend(str(elsewhere))
    assert scores_of("my_rewards:words", ("p", "one two")) == [Score(2.0)]


@pytest.mark.parametrize(
    ("name", "response", "said"),
    [
        ("raising", "", "ZeroDivisionError: division by zero, at .*my_rewards.py, line 41: return "),
        ("raising_late", "x", "ValueError: invalid literal.*, at .*my_rewards.py, line 45: yield int"),
        ("raising_later", "x", "ValueError: invalid literal.*, at .*my_rewards.py, line 48: return"),
    ],
)
def test_a_function_that_raises_shows_its_own_line(modules: Path, name: str, response: str, said: str) -> None:
    with pytest.raises(UserError, match=f"the reward function raised {said}"):
        scores_of(f"my_rewards:{name}", ("p", response))
