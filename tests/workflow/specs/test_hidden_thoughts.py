"""What thoughts change in the settings and digests of programs: nothing where there are none."""

import json

import pytest

from experiments import experiment
from rlhf.base.settings import Settings
from rlhf.base.source_digest import SCRIPTS, find_module, source_files
from workflow.specs.programs import Specs, as_json, program_digest
from workflow.specs.tiny import TinySpecs

MARKS = {"open": "<think>", "close": "</think>"}
IMPORTED = {"dataset": "owner/name"}
BENCHMARK = {"run": {"gsm8k": {}}}
PROGRAMS = ("generate_responses", "import_responses", "run_benchmark")


def specs_of(**patches: object) -> dict[str, Settings]:
    made = Specs(experiment("micro", **{"responses.imported": IMPORTED, "benchmarks": BENCHMARK, **patches}))
    given = (("base", "train-000"), ("train-000",), ("base", "gsm8k"))
    return {name: getattr(made, name)(*arguments) for name, arguments in zip(PROGRAMS, given, strict=True)}


@pytest.mark.parametrize("program", PROGRAMS)
def test_marks_are_in_a_spec_where_thoughts_are_hidden(program: str) -> None:
    shown, hidden = specs_of()[program], specs_of(**{"responses.hide": MARKS})[program]
    assert json.loads(as_json(hidden)) == {**json.loads(as_json(shown)), "hide": MARKS}
    assert type(hidden).model_validate_json(as_json(hidden)) == hidden
    assert "hide" not in json.loads(as_json(shown))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_code_that_hides_them_is_in_the_digest_only_there(program: str) -> None:
    modules = experiment("micro", **{"responses.hide": MARKS}).responses.thought_modules
    (code,) = [find_module(module, (SCRIPTS,)) for module in modules]
    assert code not in source_files([SCRIPTS / f"{program}.py"], (SCRIPTS,))
    assert program_digest(program, modules) != program_digest(program)
    assert experiment("micro").responses.thought_modules == ()


def test_the_tiny_policy_thinks_where_it_is_told_to() -> None:
    programs = ("train_tiny_tokenizer", "pretrain_tiny_policy", "train_tiny_policy")
    made = [experiment("micro", **patches) for patches in ({}, {"tiny.thoughts": True})]
    plain, thinking = (TinySpecs(each.seed, each.tiny) for each in made if each.tiny)
    for program in programs:
        before, after = (json.loads(as_json(getattr(specs, program)())) for specs in (plain, thinking))
        assert after == {**before, "thoughts": True}
        assert "thoughts" not in before
    assert as_json(plain.train_tiny_reward_model()) == as_json(thinking.train_tiny_reward_model())
