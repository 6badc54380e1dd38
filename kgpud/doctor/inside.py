"""Seen from inside a canary: exec from end to end, the GPUs, the clock."""

import os
import re
import time
from collections.abc import AsyncIterator, Sequence

from gateway.capture import Completed, run
from gateway.protocols import PodRef
from kgpud.cluster.pods import CONTAINER
from kgpud.doctor.findings import Finding, fail, ok, skip
from kgpud.doctor.patient import Canary, Patient

_MIB = 1 << 20
_PAYLOAD_MIB = 64
_STREAM_SECONDS = 60.0
_LOOK_SECONDS = 20.0
_MOST_OUTPUT = 64 << 10
_MOST_SKEW_SECONDS = 5
_EXIT_CODE = 7


async def look(patient: Patient, canary: Canary, argv: Sequence[str]) -> Completed:
    """Run a short command in a canary. Raises ExecRefused and ExecBroken."""
    pod = PodRef(patient.config.cluster.namespace, canary.name, CONTAINER)
    return await run(patient.executor, pod, argv, output_limit=_MOST_OUTPUT, timeout=_LOOK_SECONDS)


async def stream(patient: Patient) -> AsyncIterator[Finding]:
    """Send 64 MiB through one command and back, end its input, and believe its exit code."""
    if not patient.canaries:
        yield skip("exec", "there is no canary to run commands in")
        return
    pod = PodRef(patient.config.cluster.namespace, patient.canaries[0].name, CONTAINER)
    data = os.urandom(_MIB) * _PAYLOAD_MIB
    began = time.monotonic()
    done = await run(
        patient.executor,
        pod,
        ["sh", "-c", f"cat; exit {_EXIT_CODE}"],
        stdin=data,
        output_limit=len(data) + 1,
        timeout=_STREAM_SECONDS,
    )
    took = time.monotonic() - began
    yield _judged(done, data, took)


def _judged(done: Completed, data: bytes, took: float) -> Finding:
    remedy = "look for a proxy between here and the API server that changes or holds websockets"
    if done.stdout != data:
        share = f"{len(done.stdout) // _MIB} of {_PAYLOAD_MIB} MiB came back"
        if done.timed_out:
            share += f" in {_STREAM_SECONDS:.0f} s"
        wrong = "the bytes that came back are others" if len(done.stdout) == len(data) else share
        return fail("exec", wrong, remedy)
    if done.timed_out:
        said = f"the end of a command's input does not arrive in {_STREAM_SECONDS:.0f} s"
        return fail("exec", said, remedy)
    if done.exit_code != _EXIT_CODE:
        return fail("exec", f"exit code {done.exit_code} instead of {_EXIT_CODE}", remedy)
    rate = _PAYLOAD_MIB / took
    return ok("exec", f"{_PAYLOAD_MIB} MiB there and back, {rate:.0f} MiB/s, half-close, exit code")


async def gpus(patient: Patient) -> AsyncIterator[Finding]:
    """Look whether each canary sees exactly the GPUs that it asked for."""
    for canary in patient.canaries:
        check = f"GPUs of {canary.gpu_model}"
        if canary.gpu_count:
            yield await _gpus(patient, canary, check)
        elif not any(
            one.gpu_model == canary.gpu_model and one.gpu_count for one in patient.canaries
        ):
            yield skip(check, "all of them are rented")


async def _gpus(patient: Patient, canary: Canary, check: str) -> Finding:
    listed = await look(patient, canary, ["nvidia-smi", "-L"])
    devices = await look(patient, canary, ["sh", "-c", "ls -d /dev/nvidia[0-9]* 2>/dev/null"])
    seen = len(re.findall(rb"^GPU \d+:", listed.stdout, re.MULTILINE))
    nodes = len(devices.stdout.split())
    if listed.exit_code:
        remedy = "let the device plugin hand out CDI devices, or set pods.runtime_class"
        return fail(check, f"nvidia-smi ends with {listed.exit_code} on {canary.node}", remedy)
    if seen != canary.gpu_count or nodes > seen:
        said = f"asked for {canary.gpu_count}, sees {max(seen, nodes)} on {canary.node}"
        remedy = "CDI alone may add devices: set DEVICE_LIST_STRATEGY=cdi-cri in the device plugin"
        return fail(check, said, remedy)
    named = listed.stdout.decode(errors="replace").splitlines()[0].partition(": ")[2]
    return ok(check, f"exactly {seen}: {named.partition(' (UUID')[0]}")


async def clocks(patient: Patient) -> AsyncIterator[Finding]:
    """Compare the workers' clocks with ours: container times are theirs."""
    for canary in {one.node: one for one in patient.canaries}.values():
        done = await look(patient, canary, ["date", "+%s"])
        said = done.stdout.strip()
        check = f"clock of {canary.node}"
        if not said.isdigit():
            yield skip(check, "the image has no date")
            continue
        skew = abs(int(said) - patient.clock.now_ms() / 1000)
        if skew > _MOST_SKEW_SECONDS:
            yield fail(check, f"{skew:.0f} s from ours", "run chrony or systemd-timesyncd there")
        else:
            yield ok(check, f"within {_MOST_SKEW_SECONDS} s of ours")


async def user_namespaces(patient: Patient) -> AsyncIterator[Finding]:
    """Look whether root in a pod is nobody on its node, where that is asked for.

    An API server that does not know `hostUsers`, or has it turned off, drops it without a word.
    """
    if patient.config.pods.host_users or not patient.canaries:
        return
    for canary in {one.node: one for one in patient.canaries}.values():
        done = await look(patient, canary, ["cat", "/proc/self/uid_map"])
        yield _mapped(f"users of {canary.node}", done.stdout)


def _mapped(check: str, uid_map: bytes) -> Finding:
    """Judge a map of ids. A node's own user namespace has every id that there is, as itself."""
    words = uid_map.split()
    if not words or words == [b"0", b"0", b"4294967295"]:
        remedy = "Kubernetes 1.33, Linux 6.3 and containerd 2 or CRI-O make it true"
        return fail(check, "pods.host_users is false, and root in a pod is root there", remedy)
    return ok(check, "root in a pod is nobody there")
