"""What an experiment needs from the hub."""

from rlhf.benchmarks.catalogue import repository_of
from rlhf.prefetch.settings import HubDataset, PrefetchSpec
from rlhf.rewards.model_scorer import ModelScorer
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.reuse.published import published_results
from workflow.sources import local_fingerprint
from workflow.specs.imported import imported_sections
from workflow.specs.models import model_spec


def prefetch_spec(experiment: Experiment) -> PrefetchSpec:
    """Models and datasets from the hub, by the configuration key that pins each."""
    models = {"base_model.revision": model_spec(experiment.base_model.name, experiment.base_model.revision)}
    for key, scorer in experiment.scorers().items():
        if isinstance(scorer, ModelScorer):
            models[f"{key}.revision"] = model_spec(scorer.model, scorer.revision)
    datasets = {
        "prompts.revision": experiment.prompts,
        **{f"prompts.{key}.revision": benchmark for key, benchmark in experiment.prompts.benchmarks()},
        **{f"{key}.revision": section for key, section in imported_sections(experiment).items()},
    }
    questions = {
        f"benchmarks.run.{name}.revision": HubDataset(name=repository, split=None, revision=task.revision)
        for name, task in experiment.benchmarks.run.items()
        if task.data is None and (repository := repository_of(name)) is not None
    }
    benchmarks = experiment.benchmarks
    if benchmarks.run and benchmarks.judge and benchmarks.judge.url is None:
        models["benchmarks.judge.revision"] = model_spec(benchmarks.judge.model, benchmarks.judge.revision)
    return PrefetchSpec(
        models={key: model for key, model in models.items() if model and not model.fingerprint},
        datasets=questions
        | {
            key: HubDataset(
                name=section.dataset,
                subset=section.subset,
                split=section.split,
                file=getattr(section, "file", None),
                revision=section.revision,
            )
            for key, section in datasets.items()
            if not section.dataset.startswith(MADE_BY_RULES) and local_fingerprint(section.dataset) is None
        },
        results={
            f"reuse.{number}": results
            for number, entry in enumerate(experiment.reuse)
            if (results := published_results(entry)) is not None
        },
    )
