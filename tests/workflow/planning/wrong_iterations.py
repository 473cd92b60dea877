"""Wrong choices of what iterations take from earlier ones: what is changed of config/micro.yaml, and what is said."""

from wrong_changes import NAN, Case

LLM = {"kind": "llm", "url": "http://localhost:1/v1", "model": "m"}
POOLED = {"pairs.pool": ["parent", "base"]}
MANY = {"prompts.dataset": "a/b", "prompts.train": 120, "training.iterations": 100, "prompts.part_size": 4}
ITERATIONS: list[Case] = [
    ({"training.reference": "rebel-1"}, ["training.reference: ", "'rebel-1'", "'parent' or 'base'"]),
    ({"variants.rebel.reference": None}, ["variants.rebel.reference: ", "None", "'parent' or 'base'"]),
    ({"variants.simpo.reference": "base"}, ["variants.simpo.reference: it is 'base'", "simpo has no reference"]),
    ({"variants.simpo.reference": "parent"}, ["variants.simpo.reference: it is 'parent'", "leave the key out"]),
    ({"training.start": "Base"}, ["training.start: ", "'Base'", "Did you mean 'base'?"]),
    ({"training.pairs_of": "all"}, ["training.pairs_of: ", "'all'", "'current' or 'accumulated'"]),
    ({"variants.rebel.pairs_of": 3}, ["variants.rebel.pairs_of: ", "3", "'accumulated'"]),
    ({"training.earlier_share": 0.3}, ["variants.rebel.earlier_share: it is 0.3", "pairs_of: current", "null"]),
    ({"training.earlier_share": 30}, ["training.earlier_share: ", "30", "equal to 0.999"]),
    ({"training.earlier_share": 0}, ["training.earlier_share: ", "0", "equal to 0.001"]),
    ({"variants.rebel.earlier_share": NAN}, ["variants.rebel.earlier_share: must be a finite number", "nan"]),
    (
        {"training.pairs_of": "accumulated", "training.earlier_share": 0.3, "variants.simpo.pairs_of": "current"},
        ["variants.simpo.earlier_share: it is 0.3", "`pairs_of: accumulated`"],
    ),
    (
        MANY | {"variants.rebel.iterations": 100, "training.pairs_of": "accumulated"},
        ["training.pairs_of: ", "151,500 jobs", "100,000", "`reference: base`"],
    ),
    ({"pairs.pool": "base"}, ["pairs.pool: must be a list", "'base'"]),
    ({"pairs.pool": ["base"]}, ["pairs.pool: must hold 'parent'", "['base']"]),
    ({"pairs.pool": []}, ["pairs.pool: must hold 'parent'", "[]"]),
    ({"pairs.pool": ["parent", "base", "base"]}, ["pairs.pool: must hold 'parent', and each name once"]),
    ({"pairs.pool": ["parent", "rebel-1"]}, ["pairs.pool.1: ", "'rebel-1'", "'parent', 'base' or 'earlier'"]),
    (POOLED | {"rewards": LLM}, ["pairs.pool: it is ['parent', 'base']", "rewards scores", "['parent']"]),
    (
        POOLED
        | {"rewards": {"kind": "combined", "scorers": {"a": {"scorer": LLM}, "b": {"scorer": {"kind": "armo"}}}}},
        ["pairs.pool: ", "rewards.scorers.a.scorer scores", "cannot be compared"],
    ),
    ({"evaluation.kl_to_base": "yes"}, ["evaluation.kl_to_base: ", "'yes'"]),
]
