"""Leases of pretended GPUs: no GPU is ever shared, and none is lost."""

import itertools
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pynvml
import pytest

from pretended_gpus import PretendedDriver, new_uuids, pretend_driver, pretend_gpus, without_grants
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
def driver(monkeypatch: pytest.MonkeyPatch) -> PretendedDriver:
    """Four pretended GPUs, for this process."""
    without_grants(monkeypatch)
    pretended = PretendedDriver(new_uuids(4))
    pretend_driver(monkeypatch, pretended)
    return pretended


@pytest.fixture
def environment(driver: PretendedDriver, tmp_path: Path) -> dict[str, str]:
    """The same GPUs for the jobs."""
    found = pretend_gpus(tmp_path, driver.uuids)
    return {name: value for name, value in found.items() if name != GRANTED_BY}


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
    environment: dict[str, str], driver: PretendedDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.touch()
    last = driver.uuids[3]
    jobs = [start_job({**environment, "CUDA_VISIBLE_DEVICES": f"2, {last[:12]}"}, 1, log, 0.5) for _ in range(2)]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0]
    assert sorted(gpus for _, what, _, gpus in told(log) if what == "takes") == [["2"], ["3"]]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234,0")
    assert visible_gpus() == [Gpu("MIG-1234", "MIG-1234"), Gpu(driver.uuids[0], "0")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES names GPU 7, which"):
        lease_gpus(1)


def test_jobs_waiting_for_other_gpus_block_nobody(environment: dict[str, str], tmp_path: Path) -> None:
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
def test_fewer_gpus_than_asked_for(shown: str | None, driver: PretendedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    visible = 4 if shown is None else 2 if shown == "0,1" else 0
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    with pytest.raises(UserError, match=rf"asks for {visible + 1} GPU\(s\) and sees {visible}\. .*`nvidia-smi -L`"):
        lease_gpus(visible + 1)


def test_gpus_granted_by_a_scheduler_are_used_as_they_are(environment: dict[str, str], tmp_path: Path) -> None:
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


def test_gpus_are_listed_by_index(driver: PretendedDriver) -> None:
    assert installed_gpus() == [Gpu(uuid, str(index)) for index, uuid in enumerate(driver.uuids)]
    assert driver.initialized == 0


def test_a_gpu_that_a_cgroup_hides_is_not_counted(driver: PretendedDriver) -> None:
    driver.hidden = [0, 2]
    assert installed_gpus() == [Gpu(driver.uuids[1], "0"), Gpu(driver.uuids[3], "1")]


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_driver(monkeypatch, None)
    assert installed_gpus() == []
    unloaded = PretendedDriver(["GPU-0"], {"nvmlInitWithFlags": pynvml.NVML_ERROR_DRIVER_NOT_LOADED})
    pretend_driver(monkeypatch, unloaded)
    assert installed_gpus() == []


@pytest.mark.parametrize(
    ("function", "error", "expected"),
    [
        ("nvmlInitWithFlags", pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "NVML/RM version mismatch"),
        ("nvmlDeviceGetHandleByIndex_v2", pynvml.NVML_ERROR_GPU_IS_LOST, "GPU is lost"),
        ("nvmlDeviceGetUUID", pynvml.NVML_ERROR_UNKNOWN, "Unknown Error"),
    ],
)
def test_a_driver_that_fails_says_so(function: str, error: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = PretendedDriver(["GPU-0"], {function: error})
    pretend_driver(monkeypatch, driver)
    with pytest.raises(UserError, match=f"the NVIDIA driver cannot list the GPUs: .*{expected}.*nvidia-smi"):
        installed_gpus()
    assert driver.initialized == 0


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
def test_the_real_library_finds_no_driver_here() -> None:
    assert installed_gpus() == []


@pytest.mark.gpu
def test_real_gpus_are_those_of_nvidia_smi() -> None:
    query = ["nvidia-smi", "--query-gpu=uuid,index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    assert installed_gpus() == [Gpu(*line.split(", ")) for line in listed]
