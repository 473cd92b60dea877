"""What libraries report about their use: nothing, unless the user wants it."""

import os

REPORTS_OFF = {
    "DO_NOT_TRACK": "1",  # of all that know it
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, and transformers and datasets by it
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",  # vLLM's executor on several machines
    "WANDB_ERROR_REPORTING": "false",
}
"""Environment variables and the values that stop reports."""


def switch_off_reports() -> None:
    """Set the variables of `REPORTS_OFF` that the user has not set, for this process and those that it starts.

    Libraries read them when they are imported: call it before that. Who wants one sets its variable, and DO_NOT_TRACK
    to 0.
    """
    for variable, value in REPORTS_OFF.items():
        os.environ.setdefault(variable, value)
