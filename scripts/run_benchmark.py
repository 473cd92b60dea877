"""Serve a policy with vLLM, ask it the questions of a benchmark, and have its answers judged.

What policy and judge have answered is kept in the journal as it arrives: after a kill, a fault or a spent budget, the
same command goes on from there. The judge is a server (its key from an environment variable), or a model that is served
here, in turn with the policy. Of thoughts that are hidden it sees nothing. Nothing of questions, answers and keys is
logged.
"""

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
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
from rlhf.base.files.journal import Journal
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import digest, provenance
from rlhf.base.settings import canonical_json, key_of_server
from rlhf.benchmarks.catalogue import suite
from rlhf.benchmarks.progress import RequestsProgress
from rlhf.benchmarks.questions import questions_folder
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.schema import BENCHMARK, EXCHANGES
from rlhf.benchmarks.servers.budget import Budget, Price
from rlhf.benchmarks.servers.serving import ModelServer, OneAtATime
from rlhf.benchmarks.servers.upstream import Upstream, reached_at
from rlhf.benchmarks.servers.visible_answers import WITH_TOKEN_IDS, visible_answer
from rlhf.benchmarks.servers.vllm_command import ServedModel, cpu_settings, vllm_command
from rlhf.benchmarks.settings import BenchmarkSpec, JudgeSpec
from rlhf.benchmarks.suites.child import Measured, StoppedError
from rlhf.machine.leases import lease_gpus
from rlhf.models.source import model_location
from rlhf.models.tokenizers import load_tokenizer

LOGGER = logging.getLogger("run_benchmark")
POLICY, JUDGE = "policy", "judge"


def main() -> None:
    arguments, spec = parse_arguments(parser(), BenchmarkSpec)
    inputs = checked_inputs(policy=arguments.policy)
    folder, commit = questions_folder(spec, arguments.revisions)
    key = taken_key(arguments.judge_key)
    lease_gpus(arguments.gpus)
    with ExitStack() as stack:
        work = Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-")))
        servers = stack.enter_context(OneAtATime())
        upstreams = [policy_upstream(spec, arguments, servers, work)]
        if spec.judge is not None:
            upstreams.append(judge_upstream(spec, spec.judge, key, arguments, servers, work))
        progress = stack.enter_context(RequestsProgress(spec))
        limits = budget(arguments.judge_budget)
        relay = stack.enter_context(Relay(upstreams, limits, on_answer=progress.answered))
        measured = ask(relay, spec, folder, work / "suite", arguments.in_flight, progress.expect)
        exchanges = all_exchanges(relay, upstreams)
    modules = [suite(spec.benchmark), *spec.thought_modules]
    origin = provenance(__file__, spec, inputs, modules, dataset_revision=commit, **measured.published)
    EXCHANGES.write(arguments.exchanges, exchanges, origin)
    BENCHMARK.write(arguments.output, measured.rows, origin)
    unscored = sum(row["score"] is None for row in measured.rows)
    LOGGER.info("%s on %s: %d questions, %d without a score", spec.policy, spec.benchmark, len(measured.rows), unscored)


def ask(
    relay: Relay,
    spec: BenchmarkSpec,
    folder: Path | None,
    work: Path,
    in_flight: int,
    expect: Callable[[int], None],
) -> Measured:
    """Run the library of a benchmark against the relay. A judge that is served here comes after the policy.

    Raises:
        UserError: the library failed, a server did, or the budget is spent.
    """
    task = spec.task if folder is None else spec.task.model_copy(update={"data": str(folder), "revision": None})
    measure = partial(
        import_choice(suite(spec.benchmark)).measure,
        spec.model_copy(update={"task": task}),
        relay.url(POLICY),
        relay.url(JUDGE) if spec.judge else None,
        work,
        key=relay.key,
        stop=lambda: relay.failure is not None,
        expect=expect,
        in_flight=in_flight,
    )
    try:
        if spec.judge is not None and spec.judge.url is None:
            measure(answers_only=True)
        measured: Measured = measure()
    except StoppedError:
        assert relay.failure is not None
        raise relay.failure from None
    if relay.failure is not None:  # the library took it for an answer
        raise relay.failure
    return measured


def all_exchanges(relay: Relay, upstreams: Sequence[Upstream]) -> list[dict[str, Any]]:
    """Rows of `EXCHANGES`."""
    return [
        {
            "side": upstream.name,
            "digest": exchange.digest,
            "request": canonical_json(exchange.request),
            "answer": canonical_json(exchange.answer),
        }
        for upstream in upstreams
        for exchange in relay.exchanges(upstream.name)
    ]


def parser() -> argparse.ArgumentParser:
    made = program_parser(__doc__, BenchmarkSpec)
    add_policy_flag(made)
    add_revisions_flag(made)
    made.add_argument("--journal", type=Path, help="folder that keeps all answers (default: none are kept)")
    made.add_argument("--in-flight", type=int, default=16, help="requests at a time (default 16)")
    made.add_argument(
        "--judge-key", default="none", help="environment variable with the key of the judge's server; `none` sends none"
    )
    made.add_argument(
        "--judge-prices",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("INPUT", "OUTPUT"),
        help="prices of a million tokens that the judge reads and writes",
    )
    made.add_argument(
        "--judge-budget",
        nargs=3,
        default=("none", "none", "none"),
        metavar=("REQUESTS", "TOKENS", "MONEY"),
        help="what the judge may cost, with all that the journal has of it; `none` sets no limit",
    )
    made.add_argument("--judge-tensor-parallel", type=int, default=1, help="GPUs for a copy of a judge served here")
    add_hardware_flags(made)
    made.add_argument("--exchanges", type=Path, required=True, help="all requests and answers, Parquet")
    add_output_flag(made, "a row per question")
    return made


def taken_key(variable: str) -> str | None:
    """The key of the judge's server, removed from the environment: no program that is started here gets it."""
    if variable == "none":
        return None
    key = key_of_server(variable, "benchmarks.judge.key_variable")
    del os.environ[variable]
    return key


def policy_upstream(spec: BenchmarkSpec, arguments: argparse.Namespace, servers: OneAtATime, work: Path) -> Upstream:
    """The policy, served here."""
    name, revision = model_location(arguments.policy, spec.model, arguments.revisions)
    folder = Path(name)
    served = ServedModel(
        name, revision, POLICY, spec.seed, spec.precision, None, arguments.gpus, template=spec.template
    )
    identity: dict[str, Any] = {"policy": digest(folder)} if folder.is_dir() else {"policy": name, "revision": revision}
    identity |= {"template": spec.template} if spec.template else {}
    journal = Journal(arguments.journal and arguments.journal / spec.policy)
    connect = partial(servers.connect, server(served, spec, arguments, work))
    upstream = Upstream(POLICY, identity, POLICY, connect, journal, counts=False)
    thoughts = spec.thoughts(load_tokenizer(name, revision)) if spec.hide else None
    if thoughts is None:
        return upstream
    return replace(upstream, options=WITH_TOKEN_IDS, shown=partial(visible_answer, thoughts))


def judge_upstream(
    spec: BenchmarkSpec,
    judge: JudgeSpec,
    key: str | None,
    arguments: argparse.Namespace,
    servers: OneAtATime,
    work: Path,
) -> Upstream:
    """The judge: somewhere else, or served here."""
    journal, price = Journal(arguments.journal and arguments.journal / JUDGE), Price(*arguments.judge_prices)
    if judge.url is not None:
        return Upstream(JUDGE, {"url": judge.url}, judge.model, reached_at(judge.url, key), journal, price)
    name, revision = model_location(None, judge.source, arguments.revisions)
    precision = "bfloat16" if arguments.gpus else "float32"
    spread = arguments.judge_tensor_parallel
    served = ServedModel(name, revision, JUDGE, spec.seed, precision, None, arguments.gpus, spread)
    identity = {"judge": digest(Path(name))} if Path(name).is_dir() else {"judge": name, "revision": revision}
    return Upstream(
        JUDGE, identity, JUDGE, partial(servers.connect, server(served, spec, arguments, work)), journal, price
    )


def server(served: ServedModel, spec: BenchmarkSpec, arguments: argparse.Namespace, work: Path) -> ModelServer:
    """The server of a model; what it prints is kept beside the journal."""
    environment = {**os.environ, **({} if arguments.gpus else cpu_settings(arguments.threads))}
    log = (arguments.journal or work) / "servers" / f"{spec.policy}-{spec.benchmark}-{served.name}.log"
    return ModelServer(f"the {served.name}", partial(vllm_command, served), environment, log)


def budget(limits: Sequence[str]) -> Budget:
    """The budget of `--judge-budget`."""
    requests, tokens, money = (None if limit == "none" else float(limit) for limit in limits)
    return Budget(None if requests is None else int(requests), None if tokens is None else int(tokens), money)


if __name__ == "__main__":
    run(main)
