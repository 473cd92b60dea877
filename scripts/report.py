"""Write the report of an experiment: a self-contained HTML page, a summary table in Markdown, and the figures as SVG.

Files lie as the pipeline lays them: `<policy>/evaluation.parquet`, `<policy>/training.parquet`,
`<policy>/drift.parquet`, `<policy>/pairs/<part>.parquet`, and likewise responses, rewards and judgements. The name of
the folder is the policy's.
"""

import logging
from argparse import ArgumentParser
from pathlib import Path

from command_line import parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.report.folder import PAGE, write_report
from rlhf.report.material import ReportFiles, read_material
from rlhf.report.settings import ReportSpec

EVALUATED = ("evaluations", "length_control", "benchmarks", "prompts", "responses", "rewards", "judgements", "sweeps")
LOGGER = logging.getLogger("report")


def main() -> None:
    arguments, spec = parse_arguments(parser(), ReportSpec)
    files = ReportFiles(
        evaluations=arguments.evaluations,
        length_control=arguments.length_control,
        benchmarks=arguments.benchmarks,
        prompts=arguments.prompts,
        responses=arguments.responses,
        rewards=arguments.rewards,
        judgements=arguments.judgements,
        training=arguments.training,
        pairs=arguments.pairs,
        sweeps=arguments.sweeps,
        drift=arguments.drift,
    )
    inputs = {
        **checked_inputs(**{name: getattr(arguments, name) for name in EVALUATED}),
        **checked_inputs(drift=arguments.drift),
        **checked_inputs(training=arguments.training, pairs=arguments.pairs),
    }
    write_report(read_material(spec, files), arguments.output, provenance(__file__, spec, inputs))
    LOGGER.info("the report of %d policies is %s", len(spec.policies), arguments.output / PAGE)


def parser() -> ArgumentParser:
    made = program_parser(__doc__, ReportSpec)
    made.add_argument("--evaluations", type=Path, nargs="+", required=True, help="of every policy, base included")
    made.add_argument("--length-control", type=Path, required=True, help="win rates at equal length")
    made.add_argument("--drift", type=Path, nargs="*", default=[], help="of the trained policies, if it was measured")
    made.add_argument("--benchmarks", type=Path, nargs="?", help="the summary of the benchmarks, if any were run")
    made.add_argument("--training", type=Path, nargs="*", default=[], help="training metrics of the trained policies")
    made.add_argument("--pairs", type=Path, nargs="*", default=[], help="the pairs that policies were trained on")
    made.add_argument("--prompts", type=Path, required=True, help="the prompts of the experiment")
    made.add_argument("--responses", type=Path, nargs="+", required=True, help="to the test prompts, of every policy")
    made.add_argument("--rewards", type=Path, nargs="+", required=True, help="of those responses")
    made.add_argument("--judgements", type=Path, nargs="*", default=[], help="of those responses, if there is a judge")
    made.add_argument("--sweeps", type=Path, nargs="*", default=[], help="the results of sweeps, if there are any")
    made.add_argument(
        "--output", type=Path, required=True, help="the folder of the report; an older report is replaced"
    )
    return made


if __name__ == "__main__":
    run(main)
