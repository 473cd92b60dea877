"""Wrong losses: what is changed of config/micro.yaml, and what is said."""

from rlhf.training.loss import Loss
from wrong_changes import Case, loss

NAMES = ", ".join(map(repr, Loss.choices()))
LOSSES: list[Case] = [
    ({"variants.rebel.loss.eta": [1]}, ["variants.rebel.loss.eta: must be a number", "[1]"]),
    (loss(), ["variants.rebel.loss.name: this key is missing", NAMES]),
    (loss(beta=0.1), ["variants.rebel.loss.name: this key is missing", NAMES]),
    (loss(name="reble"), ["variants.rebel.loss.name: there is no 'reble'", "Did you mean 'rebel'?", NAMES]),
    (loss(name="ppo"), ["variants.rebel.loss.name: there is no 'ppo'", NAMES]),
    (loss(name="rebel", beta=1.0), ["variants.rebel.loss.beta: there is no such key", "Allowed here: eta, name"]),
    (
        {"variants.rebel.loss": "rebel"},
        ["variants.rebel.loss: must be a section", "'rebel'", f"`name` is one of {NAMES}"],
    ),
    ({"variants.rebel.loss": ...}, ["variants.rebel.loss: this key is missing"]),
    ({"variants.rebel.loss.eta": 1.0e300}, ["variants.rebel.loss.eta: ", "1e+300", "equal to 1000000000000"]),
    ({"variants.rebel.loss.eta": "1e6"}, ["variants.rebel.loss.eta: must be a number", "'1e6'", "1000000.0"]),
    (loss(name="dpo", beta=0), ["variants.rebel.loss.beta: ", "0", "equal to 1e-06"]),
    (loss(name="dpo", label_smoothing=0.5), ["variants.rebel.loss.label_smoothing: ", "0.5", "less than 0.5"]),
    (loss(name="ipo", tau=1e-300), ["variants.rebel.loss.tau: ", "1e-300", "equal to 1e-06"]),
    (loss(name="simpo", gamma=-1.0), ["variants.rebel.loss.gamma: ", "-1.0", "equal to 0"]),
    (loss(name="sppo", beta=1e-300), ["variants.rebel.loss.beta: ", "1e-300", "equal to 1e-06"]),
    (loss(name="robust", label_smoothing=0.5), ["variants.rebel.loss.label_smoothing: ", "0.5", "less than 0.5"]),
    (loss(name="exo", label_smoothing=0), ["variants.rebel.loss.label_smoothing: ", "0", "equal to 1e-09"]),
    (loss(name="nca", beta="low"), ["variants.rebel.loss.beta: must be a number", "'low'"]),
    (loss(name="dpo", sft_weight=0), ["variants.rebel.loss.sft_weight: ", "0", "equal to 1e-06", "Null adds nothing"]),
    (loss(name="dpo", wpo="yes"), ["variants.rebel.loss.wpo: must be true or false", "'yes'"]),
    (loss(name="sft", sft_weight=1.0), ["variants.rebel.loss: `sft_weight` is for losses of two responses", "sft"]),
    (loss(name="sft", wpo=True), ["variants.rebel.loss: `wpo` is for losses of two responses", "sft"]),
    (loss(name="sft", beta=0.1), ["variants.rebel.loss.beta: there is no such key", "Allowed here: name"]),
]
