"""Slurm for real on this machine: virtual nodes on loopback, with pretended GPUs."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from project import wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
ADMINISTRATORS = "/usr/sbin"
"""Where Debian puts daemons, which is not on everybody's PATH."""
NEEDS_SLURM = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(shutil.which(program, path="/usr/bin:/usr/sbin") is None for program in PROGRAMS),
        reason="needs slurm-wlm and munge (Debian packages)",
    ),
]
"""The marks of tests that start a cluster."""

SLURM_CONF = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
MinJobAge=300
KillWait=2
SlurmdTimeout=10
ReturnToService=2
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    "CPUs={machine.cpus} RealMemory={machine.memory_mb} Gres=gpu:{machine.gpus}"
)
GRES_CONF = """
AutoDetect=off
Name=gpu File=/dev/tty[0-{last}]
"""
SRUN = """#!/bin/sh
# Snakemake's plugin hides Slurm's variables from its srun, the configuration's place included.
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


@dataclass(frozen=True)
class Machine:
    """What a node pretends to be."""

    cpus: int = 8
    memory_mb: int = 16000
    gpus: int = 4


class SlurmCluster:
    """A context manager: a controller and nodes `n1`, `n2`, ..., which are stopped at its end."""

    def __init__(self, folder: Path, nodes: int = 1, machine: Machine = Machine()) -> None:
        self.folder = folder
        self.machine = machine
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SlurmCluster:
        self.folder.mkdir(parents=True)
        self._write_configuration()
        self._munge()
        self._start("slurmctld", "-D", "-c")
        for node in self.nodes:
            (self.folder / f"spool-{node}").mkdir()
            self._nodes[node] = self._start("slurmd", "-D", "-N", node)
        try:
            self._wait_until_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._daemons[1:]:
            self.run("scancel", "--user", "root", "--signal", "KILL")
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process, _ in self._processes():
            process.kill()  # what a job left that hung at its time limit

    @property
    def environment(self) -> Mapping[str, str]:
        """For programs that are to use this cluster."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"], ADMINISTRATORS])
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def run(self, *command: str) -> str:
        """What one of Slurm's programs prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def kill_node(self, node: str) -> None:
        """End a node and all that runs on it, as if its plug were pulled. Slurm notices after SlurmdTimeout."""
        self._nodes[node].kill()
        for process, at in self._processes():
            if at == node or process.name() == "slurmstepd":
                process.kill()

    def _processes(self) -> Iterator[tuple[psutil.Process, str | None]]:
        """All that runs on this cluster, with the node of what is a job's."""
        ours = self.environment["SLURM_CONF"]
        for process in psutil.process_iter():
            try:
                variables = process.environ()
            except psutil.Error:
                continue
            if variables.get("SLURM_CONF") == ours:
                yield process, variables.get("SLURMD_NODENAME")

    def _write_configuration(self) -> None:
        (self.folder / "state").mkdir()
        host = socket.gethostname().partition(".")[0]
        controller_port, *ports = _free_ports(1 + len(self.nodes))
        nodes = [
            NODE.format(node=node, host=host, port=port, machine=self.machine)
            for node, port in zip(self.nodes, ports, strict=True)
        ]
        configuration = SLURM_CONF.format(
            folder=self.folder, host=host, controller_port=controller_port, nodes="\n".join(nodes)
        )
        (self.folder / "slurm.conf").write_text(configuration)
        (self.folder / "gres.conf").write_text(GRES_CONF.format(last=self.machine.gpus - 1))
        srun = self.folder / "bin/srun"
        srun.parent.mkdir()
        srun.write_text(SRUN.format(folder=self.folder, srun=shutil.which("srun")))
        srun.chmod(0o755)

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        places = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
        flags = [f"--{name}={self.folder / file}" for name, file in places.items()]
        self._start("munged", "--foreground", "--force", f"--key-file={key}", "--origin=127.0.0.1", *flags)
        wait_for(lambda: (self.folder / "munge.socket").exists(), "munged's socket", seconds=60)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command[0]}.out").open("ab") as output:
            daemon = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )
        self._daemons.append(daemon)
        return daemon

    def _wait_until_idle(self) -> None:
        def idle() -> bool:
            states = subprocess.run(
                ["sinfo", "--noheader", "--Node", "--format=%T"], env=self.environment, capture_output=True, text=True
            )
            return states.stdout.split() == ["idle"] * len(self.nodes)

        wait_for(idle, f"idle nodes (see the logs in {self.folder})", seconds=60)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
