"""Serve a policy with vLLM, ask it the questions of a benchmark, and have its answers judged.

What policy and judge have answered is kept in the journal as it arrives: after a kill, a fault or a spent budget, the
same command goes on from there. The judge is a server (its key from an environment variable), or a model that is served
here, in turn with the policy. Nothing of questions, answers and keys is logged.
"""

import argparse
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from command_line import (
    add_hardware_flags,
    add_output_flag,
    add_policy_flag,
    add_revisions_flag,
    parse_arguments,
    program_parser,
    run,
)
from rlhf.base.choices import import_choice
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import digest, provenance
from rlhf.benchmarks.catalogue import suite
from rlhf.benchmarks.progress import BenchmarkProgress
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.schema import BENCHMARK, EXCHANGES
from rlhf.benchmarks.servers import Servers
from rlhf.benchmarks.settings import BenchmarkSpec
from rlhf.machine.leases import lease_gpus
from rlhf.models.source import model_location, resolved_revision

LOGGER = logging.getLogger("run_benchmark")
