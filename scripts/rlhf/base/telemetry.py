"""Turns off the telemetry of libraries, unless the user wants it."""

import os

REPORTS_OFF = {
    "DO_NOT_TRACK": "1",  # respected by several libraries
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, and through it transformers and datasets
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",  # vLLM's multi-node executor
    "WANDB_ERROR_REPORTING": "false",
}
"""Environment variable -> value that disables telemetry."""


def switch_off_reports() -> None:
    """Set those variables of `REPORTS_OFF` that the user has not set, for this process and its children.

    Libraries read them on import, so call this first. To keep a library's telemetry, set its variable and
    DO_NOT_TRACK=0.
    """
    for variable, value in REPORTS_OFF.items():
        os.environ.setdefault(variable, value)
