"""What an experiment needs from the hub."""

from experiments import MICRO, PUBLISHED, experiment
from workflow.specs.hub import prefetch_spec


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
