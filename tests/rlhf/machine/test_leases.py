"""Leases of pretended GPUs: no device is ever shared, and none is lost."""

import importlib.util
import inspect
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest

from pretended_gpus import STAND_IN, pretend_gpus, pretend_here, without_grants
from rlhf.base.errors import UserError
from rlhf.machine.leases import GRANTED_BY, Gpu, installed_gpus, lease_gpus, visible_gpus
from small_models import SCRIPTS

JOB = """
import os, sys, time
from rlhf.machine.leases import lease_gpus
lease_gpus(int(sys.argv[1]))
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
def tell(what):
    os.write(log, f"{os.getpid()} {what} {time.monotonic()} {os.environ['CUDA_VISIBLE_DEVICES']}\\n".encode())
tell("takes")
time.sleep(float(sys.argv[3]))
tell("leaves")
"""
Interval = tuple[float, float]


def start_job(environment: dict[str, str], count: int, log: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", JOB, str(count), str(log), str(seconds)]
    return subprocess.Popen(command, cwd=SCRIPTS, env=environment, stderr=subprocess.DEVNULL)


def told(log: Path) -> list[tuple[int, str, float, list[str]]]:
    """What the jobs wrote: process, what it does, when, its GPUs."""
    lines = (line.split() for line in log.read_text().splitlines())
    return [(int(pid), what, float(at), gpus.split(",")) for pid, what, at, gpus in lines]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Four pretended GPUs, for this process too."""
    found = pretend_gpus(4)
    pretend_here(monkeypatch, PRETENDED_GPUS=found["PRETENDED_GPUS"])
    without_grants(monkeypatch)
    yield {name: value for name, value in found.items() if name != GRANTED_BY}


def test_forty_jobs_on_four_gpus_some_of_them_killed(environment: dict[str, str], tmp_path: Path) -> None:
    log, chance = tmp_path / "log", random.Random(os.urandom(8))
    log.touch()
    counts = [chance.choice((1, 2, 4)) for _ in range(40)]
    jobs = {}
    for number, count in enumerate(counts):
        doomed = number % 5 == 0
        job = start_job(environment, count, log, 60.0 if doomed else chance.uniform(0.0, 0.2))
        jobs[job.pid] = (job, count, doomed)
    ends: dict[int, float] = {}
    while len(ends) < sum(doomed for _, _, doomed in jobs.values()):
        for pid, what, _, _ in told(log):
            if what == "takes" and jobs[pid][2] and pid not in ends:
                time.sleep(chance.uniform(0.0, 0.2))
                ends[pid] = time.monotonic()
                jobs[pid][0].kill()
        time.sleep(0.01)
    for job, _, doomed in jobs.values():
        assert job.wait(timeout=120) == (-9 if doomed else 0)

    held: dict[str, list[Interval]] = {}
    lines = told(log)
    for pid, what, at, gpus in lines:
        if what == "leaves":
            ends[pid] = at
        else:
            assert len(set(gpus)) == jobs[pid][1]
    for pid, what, at, gpus in lines:
        for gpu in gpus if what == "takes" else []:
            held.setdefault(gpu, []).append((at, ends[pid]))
    assert sorted(held) == ["0", "1", "2", "3"]
    for intervals in held.values():
        intervals.sort()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(intervals))
    assert start_job(environment, 4, log, 0.0).wait(timeout=60) == 0
    assert told(log)[-1][3] == ["0", "1", "2", "3"]


def test_a_lease_outlives_execv_and_ends_with_its_process(environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    program = (
        "import os, sys; from rlhf.machine.leases import lease_gpus; lease_gpus(3);"
        " os.environ.pop('RLHF_GPUS_GRANTED_BY');"
        " os.execv(sys.executable, [sys.executable, '-c', 'print(1, flush=True); import time; time.sleep(60)'])"
    )
    command = [sys.executable, "-c", program]
    holder = subprocess.Popen(command, cwd=SCRIPTS, env=environment, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"1\n"
    assert start_job(environment, 1, log, 0.0).wait(timeout=60) == 0
    third = start_job(environment, 2, log, 0.0)
    time.sleep(1.0)
    assert third.poll() is None
    holder.kill()
    holder.wait()
    assert third.wait(timeout=60) == 0
    assert [gpus for _, what, _, gpus in told(log) if what == "takes"] == [["3"], ["0", "1"]]


def test_only_gpus_that_are_visible_are_taken(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.touch()
    last = installed_gpus()[3].uuid
    jobs = [start_job({**environment, "CUDA_VISIBLE_DEVICES": f"2, {last[:12]}"}, 1, log, 0.5) for _ in range(2)]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0]
    assert sorted(gpus for _, what, _, gpus in told(log) if what == "takes") == [["2"], ["3"]]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234,0")
    assert visible_gpus() == [Gpu("MIG-1234", "MIG-1234"), installed_gpus()[0]]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES names GPU 7, which"):
        lease_gpus(1)


def test_jobs_that_wait_for_other_gpus_are_in_nobodys_way(environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    holder, waiting = (start_job({**environment, "CUDA_VISIBLE_DEVICES": "0,1"}, 2, log, 60.0) for _ in range(2))
    while not told(log):
        time.sleep(0.01)
    assert start_job({**environment, "CUDA_VISIBLE_DEVICES": "2,3"}, 2, log, 0.0).wait(timeout=30) == 0
    assert [gpus for _, what, _, gpus in told(log) if what == "takes"] == [["0", "1"], ["2", "3"]]
    for job in (holder, waiting):
        job.kill()
        job.wait()


@pytest.mark.parametrize("shown", [None, "0,1", "", "-1", "NoDevFiles"])
def test_fewer_gpus_than_asked_for(
    shown: str | None, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visible = 4 if shown is None else 2 if shown == "0,1" else 0
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    with pytest.raises(UserError, match=rf"asks for {visible + 1} GPU\(s\) and sees {visible}\. .*`nvidia-smi -L`"):
        lease_gpus(visible + 1)


def test_what_a_scheduler_gave_is_taken_as_it_is(environment: dict[str, str], tmp_path: Path) -> None:
    """Just as many: without a lease. More than that: leases among them."""
    log = tmp_path / "log"
    log.touch()
    scheduled = {**environment, GRANTED_BY: "scheduler"}
    holder = start_job(environment, 4, log, 60.0)
    while not told(log):
        time.sleep(0.01)
    assert start_job({**scheduled, "CUDA_VISIBLE_DEVICES": "1,2"}, 2, log, 0.0).wait(timeout=60) == 0
    waiting = start_job({**scheduled, "CUDA_VISIBLE_DEVICES": "1,2"}, 1, log, 0.0)
    time.sleep(1.0)
    assert waiting.poll() is None
    holder.kill()
    holder.wait()
    assert waiting.wait(timeout=60) == 0
    assert [gpus for _, what, _, gpus in told(log) if what == "takes"][1:] == [["1", "2"], ["1"]]


@pytest.mark.parametrize("error", ["NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded"])
def test_without_a_driver_there_is_no_gpu(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_here(monkeypatch, PRETENDED_ERROR=error)
    assert installed_gpus() == []


def test_a_driver_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_here(monkeypatch, PRETENDED_GPUS="GPU-1 lost")
    with pytest.raises(UserError, match="does not list its GPUs: GPU is lost"):
        installed_gpus()
    pretend_here(monkeypatch, PRETENDED_ERROR="NVMLError")
    with pytest.raises(UserError, match="does not start: driver and library differ"):
        installed_gpus()


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
def test_the_real_library_finds_no_driver_here() -> None:
    assert "pretended" not in str(pynvml.__file__)
    assert installed_gpus() == []


def test_the_stand_in_has_the_functions_of_the_real_library() -> None:
    """With their parameters, and errors of the same names."""
    spec = importlib.util.spec_from_file_location("pretended_pynvml", STAND_IN / "pynvml.py")
    assert spec is not None
    assert spec.loader is not None
    stand_in = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stand_in)
    names = [name for name in vars(stand_in) if name.lower().startswith("nvml")]
    assert len(names) == 8
    for name in names:
        real, ours = getattr(pynvml, name), getattr(stand_in, name)
        if inspect.isclass(ours):
            assert issubclass(real, pynvml.NVMLError)
        else:
            assert list(inspect.signature(real).parameters) == list(inspect.signature(ours).parameters)
