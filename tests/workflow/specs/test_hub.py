"""What an experiment needs from the hub."""

from experiments import MICRO, PUBLISHED, experiment
from workflow.specs.hub import prefetch_spec

SCORES = {"chosen_score": "s", "rejected_score": "t"}


def test_prefetch_knows_everything_that_comes_from_the_hub_by_the_key_that_pins_it() -> None:
    found = prefetch_spec(experiment(PUBLISHED))
    assert found.models.keys() >= {"base_model.revision", "rewards.revision"}
    benchmarks = {f"prompts.decontaminate.{position}.revision" for position in range(3)}
    questions = {f"benchmarks.run.{name}.revision" for name in ("alpaca_eval", "mt_bench", "mmlu", "gsm8k")}
    assert found.datasets.keys() == {"prompts.revision"} | benchmarks | questions  # Arena-Hard is ModelScope's
    names = {found.datasets[key].name for key in benchmarks}
    assert names == {"tatsu-lab/alpaca_eval", "lmarena-ai/arena-hard-auto", "HuggingFaceH4/mt_bench_prompts"}
    assert found.datasets["prompts.decontaminate.0.revision"].file == "alpaca_eval.json"
    embedded = prefetch_spec(experiment(MICRO))
    assert not embedded.models | embedded.datasets


def test_imported_data_of_the_hub_are_fetched() -> None:
    pairs = {"dataset": "owner/pairs", "subset": "en", "split": "train_prefs", "revision": "v1", **SCORES}
    found = prefetch_spec(experiment(MICRO, pairs__imported=pairs)).datasets
    assert found.keys() == {"pairs.imported.revision"}
    (pairs_of_hub,) = found.values()
    assert (pairs_of_hub.name, pairs_of_hub.subset) == ("owner/pairs", "en")
    assert (pairs_of_hub.split, pairs_of_hub.revision) == ("train_prefs", "v1")
