"""The doctor's rounds: the table of checks, in order, each bounded in time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from gateway.outcome import ExecBroken, ExecRefused
from kgpud.cluster.errors import ClusterError
from kgpud.doctor import canaries, fleet, front, house, inside, network, objects, same, server
from kgpud.doctor.findings import Finding, Verdict, fail, skip
from kgpud.doctor.patient import Patient

Look = Callable[[Patient], AsyncIterator[Finding]]


@dataclass(frozen=True)
class Check:
    """A check. `name` is its line's where it breaks before it finds anything."""

    name: str
    look: Look
    seconds: float


HOUSE = (
    Check("state folder", house.folder, 5),
    Check("database", house.database, 10),
    Check("host key", house.host_key, 5),
    Check("cluster", server.reachable, 30),
)
CLUSTER = (
    Check("rights", server.rights, 60),
    Check("same cluster", same.cluster, 15),
    Check("nodes", fleet.nodes, 60),
    Check("default image", fleet.image, 5),
)
CANARIES = (
    Check("exec", inside.stream, 90),
    Check("GPUs", inside.gpus, 120),
    Check("clocks", inside.clocks, 120),
    Check("users", inside.user_namespaces, 60),
    Check("network", network.reach, 150),
)
FRONT = (
    Check("objects", objects.transit, 60),
    Check("API", front.api, 15),
    Check("TLS", front.tls, 15),
    Check("bastion", front.bastion, 15),
)


async def examine(patient: Patient) -> AsyncIterator[Finding]:
    """Yield what every check finds, as soon as it is found."""
    answers = True
    for check in HOUSE:
        for finding in await _carry_out(check, patient):
            yield finding
            answers &= (finding.check, finding.verdict) != ("cluster", Verdict.FAIL)
    if answers:
        for check in CLUSTER:
            for finding in await _carry_out(check, patient):
                yield finding
        async for finding in _with_canaries(patient):
            yield finding
    else:
        for check in (*CLUSTER, *CANARIES):
            yield skip(check.name, "the cluster does not answer")
    for check in FRONT:
        for finding in await _carry_out(check, patient):
            yield finding


async def _with_canaries(patient: Patient) -> AsyncIterator[Finding]:
    try:
        async with canaries.flock(patient) as findings:
            for finding in findings:
                yield finding
            for check in CANARIES:
                for finding in await _carry_out(check, patient):
                    yield finding
    except ClusterError as error:
        yield fail("canaries", str(error), "mend what the lines above say, then try again")


async def _carry_out(check: Check, patient: Patient) -> Sequence[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(check.seconds):
            # One by one: what was found before it broke counts.
            async for finding in check.look(patient):
                found.append(finding)  # noqa: PERF401
    except TimeoutError:
        remedy = "look for what is overloaded, or drops packets"
        found.append(fail(check.name, f"not done after {check.seconds:.0f} s", remedy))
    except (ClusterError, ExecRefused, ExecBroken) as error:
        found.append(fail(check.name, str(error), "mend the lines above, or look at its log"))
    return found
