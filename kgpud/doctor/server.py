"""The API server: whether it answers, what it is, what time it has and what we may do there."""

import re
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from gateway.protocols import ApiServer
from kgpud.cluster.errors import ClusterError, NoCredentials
from kgpud.cluster.rights import RIGHTS, Right
from kgpud.cluster_settings import Kubernetes
from kgpud.doctor.findings import Finding, fail, ok, skip, warn
from kgpud.doctor.patient import Patient

# What the real thing was recorded as or read about; see tests/recorded.
_OLDEST, _NEWEST = 30, 36
_MOST_SKEW_MS = 5_000
_UNAUTHORIZED = 401
_APPLY = "kgpud manifests | kubectl apply -f -"


async def reachable(patient: Patient) -> AsyncIterator[Finding]:
    """Look whether the API server answers, its version, and its clock beside ours."""
    try:
        about = await patient.cluster.about()
        server = await patient.cluster.api_server()
    except ClusterError as error:
        yield fail("cluster", str(error), _remedy(error, patient.config.cluster))
        return
    yield ok("cluster", f"{server.url} answers in {about.took} ms")
    if why := _unguarded(server):
        remedy = "https, with its certificate authority in the kubeconfig: who is in between may"
        yield warn("cluster TLS", why, f"{remedy} run commands in every pod")
    yield _version(about.version)
    yield _clock(about.date, patient.clock.now_ms(), about.took)


def _remedy(error: ClusterError, settings: Kubernetes) -> str:
    kubeconfig = settings.kubeconfig
    if kubeconfig is None:
        return "set cluster.kubeconfig, or run kgpud in a pod that has a service account"
    if error.status == _UNAUTHORIZED:
        again = f"sh config/k3s/kubeconfig.sh {settings.namespace} > {kubeconfig}"
        return f"its credentials have ended or are another cluster's: {again}"
    if error.status:
        return "look into the API server's log"
    works = f"kubectl --kubeconfig {kubeconfig} version"
    if isinstance(error, NoCredentials):
        return f"mend it until `{works}` works, as the daemon's user"
    return f"start the API server, or mend {kubeconfig} until `{works}` works"


def _unguarded(server: ApiServer) -> str | None:
    """Say why whoever stands between here and there could listen, or answer in its place."""
    if urlsplit(server.url).hostname in ("localhost", "127.0.0.1", "::1"):
        return None
    if server.ssl is None:
        return "it is asked without TLS"
    checks = server.ssl.verify_mode is ssl.CERT_REQUIRED and server.ssl.check_hostname
    return None if checks else "its certificate is not checked"


def _version(said: str) -> Finding:
    found = re.match(r"v1\.(\d+)", said)
    minor = int(found[1]) if found else 0
    if minor < _OLDEST:
        remedy = f"Kubernetes 1.{_OLDEST} is the oldest that can end a command's input"
        return fail("version", said or "none told", remedy)
    if minor > _NEWEST:
        return warn("version", said, f"newer than 1.{_NEWEST}, which this kgpud was tried on")
    return ok("version", said)


def _clock(theirs: int | None, ours: int, took: int) -> Finding:
    if theirs is None:
        return skip("clock", "the API server told no time")
    # Theirs was cut to the second, some time before ours was read.
    skew = max(theirs - ours, ours - took - theirs - 1000, 0)
    if skew > _MOST_SKEW_MS:
        detail = f"{skew / 1000:.0f} s between this machine and the API server"
        return fail("clock", detail, "run chrony or systemd-timesyncd on both: bills follow clocks")
    return ok("clock", f"within {_MOST_SKEW_MS // 1000} s of the API server's")


async def rights(patient: Patient) -> AsyncIterator[Finding]:
    """Ask for each right of the daemon's role, and for one that it should not have."""
    for right in RIGHTS:
        yield await _right(patient, right)
    if await patient.cluster.may("*", "*", everywhere=True):
        remedy = f"use the service account's: {_APPLY}, then its token in a kubeconfig"
        yield warn("rights", "these credentials may do anything in the cluster", remedy)


async def _right(patient: Patient, right: Right) -> Finding:
    name = f"may use {right.resource}"
    missing = [
        verb
        for verb in right.verbs
        if not await patient.cluster.may(verb, right.resource, everywhere=right.everywhere)
    ]
    if missing:
        return fail(
            name, f"may not {', '.join(missing)}: {right.use}", f"apply the roles: {_APPLY}"
        )
    return ok(name, ", ".join(right.verbs))
