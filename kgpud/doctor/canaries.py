"""Canaries: made, waited for, and removed whatever happens."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from kgpud.cluster import canaries
from kgpud.cluster.client import Cluster
from kgpud.cluster.errors import ClusterError
from kgpud.cluster.manifests import Installation
from kgpud.cluster.pods import derive
from kgpud.doctor.findings import Finding, fail, ok
from kgpud.doctor.patient import Canary, Patient
from kgpud.doctor.undertaker import DONE

# How long the kubelet lets one live if nobody else ends it: longer than any run.
_LIFE_SECONDS = 900
_GOODBYE_SECONDS = 10.0
_NEIGHBOUR = "neighbour"

Object = dict[str, Any]


@dataclass(frozen=True)
class _Wish:
    """A canary that is to be. `role` is what it is called in the table."""

    name: str
    role: str
    gpu_model: str
    gpu_count: int


@asynccontextmanager
async def flock(patient: Patient) -> AsyncIterator[list[Finding]]:
    """Have canaries while the block runs: one for each class, and a neighbour to talk to.

    Yields what was found on the way; those that are ready are the patient's.
    """
    await sweep(patient.cluster)
    wishes = _wishes(patient)
    names = [wish.name for wish in wishes]
    async with _undertaker(patient, names) as undertaker:
        try:
            waiting, findings = await _create(patient, wishes)
            yield findings + await _await(patient, waiting)
        finally:
            patient.canaries = ()
            await asyncio.shield(_remove(patient.cluster, names))
            undertaker.write(DONE)


async def sweep(cluster: Cluster) -> None:
    """Remove canaries that have ended: a run left them that was killed together with its helper."""
    for item in (await cluster.list_pods()).items:
        ended = (item.get("status") or {}).get("phase") in ("Failed", "Succeeded")
        if ended and canaries.CANARY in (item["metadata"].get("labels") or {}):
            await cluster.delete_pod(item["metadata"]["name"], 0)


def _wishes(patient: Patient) -> list[_Wish]:
    run = secrets.token_hex(3)
    classes = [name for name in patient.config.gpu if patient.usable(name)]
    wishes = []
    for number, name in enumerate(classes):
        free = any(patient.free(node) > 0 for node in patient.usable(name))
        wishes.append(_Wish(f"kgpud-canary-{run}-{number}", name, name, int(free)))
    if classes:
        wishes.append(_Wish(f"kgpud-canary-{run}-n", _NEIGHBOUR, classes[0], 0))
    return wishes


async def _create(patient: Patient, wishes: list[_Wish]) -> tuple[dict[str, _Wish], list[Finding]]:
    """Create canaries; return those that there are, and why there aren't the others."""
    config = patient.config
    installation = Installation.of(config, "", config.api_base(config.http.listen))
    made, findings = {}, []
    for wish in wishes:
        manifest = canaries.pod(
            wish.name, wish.gpu_model, wish.gpu_count, config.images.default, installation,
            seconds=_LIFE_SECONDS,
        )  # fmt: skip
        try:
            await patient.cluster.create_pod(manifest)
        except ClusterError as error:
            remedy = "apply the manifests, and mend what the API server says"
            findings.append(fail(f"canary {wish.role}", str(error), remedy))
        else:
            made[wish.name] = wish
    return made, findings


async def _await(patient: Patient, waiting: dict[str, _Wish]) -> list[Finding]:
    began = patient.clock.now_ms()
    findings: list[Finding] = []
    last: dict[str, Object] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(patient.canary_seconds):
            async for pod in _settled(patient.cluster, set(waiting), last):
                took = (patient.clock.now_ms() - began) / 1000
                findings.append(_arrived(patient, waiting.pop(pod["metadata"]["name"]), pod, took))
    late = [_late(patient, wish, last.get(name, {})) for name, wish in waiting.items()]
    return findings + late


def _arrived(patient: Patient, wish: _Wish, pod: Object, took: float) -> Finding:
    state, check = derive(pod), f"canary {wish.role}"
    if not state.ready:
        return fail(check, f"ended: {state.failure or state.phase}", _describe(patient))
    address = (pod.get("status") or {}).get("podIP", "")
    canary = Canary(wish.name, wish.gpu_model, wish.gpu_count, state.node or "", address)
    patient.canaries = [*patient.canaries, canary]
    return ok(check, f"ready on {state.node} after {took:.1f} s")


def _late(patient: Patient, wish: _Wish, pod: Object) -> Finding:
    why = derive(pod).pending_reason if pod else None
    said = f"not ready after {patient.canary_seconds:.0f} s: {why or 'its probe does not pass'}"
    return fail(f"canary {wish.role}", said, _describe(patient))


def _describe(patient: Patient) -> str:
    return f"kubectl -n {patient.config.cluster.namespace} get events, or --seconds for slow pulls"


async def _settled(
    cluster: Cluster, names: set[str], last: dict[str, Object]
) -> AsyncIterator[Object]:
    """Yield each of these pods once it is ready or has ended; `last` is how each was last seen."""
    while names:
        listing = await cluster.list_pods()
        for pod in _taken(listing.items, names, last):
            yield pod
        events = cast("Any", cluster.watch_pods(listing.version))
        async with aclosing(events):
            while names and (event := await anext(events, None)):
                for pod in _taken([event.object], names, last):
                    yield pod


def _taken(items: list[Object], names: set[str], last: dict[str, Object]) -> list[Object]:
    done = []
    for item in items:
        name = item["metadata"].get("name", "")
        if name in names:
            last[name] = item
            state = derive(item)
            if state.ready or state.failure:
                names.discard(name)
                done.append(item)
    return done


async def _remove(cluster: Cluster, names: list[str]) -> None:
    for name in names:
        await cluster.delete_pod(name, 0)


@asynccontextmanager
async def _undertaker(patient: Patient, names: list[str]) -> AsyncIterator[asyncio.StreamWriter]:
    """Run a process that removes these pods when we go without a word."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kgpud.doctor.undertaker", str(patient.source or ""), *names),
        stdin=asyncio.subprocess.PIPE,
        # Ctrl-C is for us; it is to outlive us.
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield process.stdin
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
