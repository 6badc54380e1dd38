"""What a rented pod reaches, tried from a canary: the internet, this API, and nothing private."""

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv6Address

from kgpud.address import Address
from kgpud.cluster import policies
from kgpud.doctor.findings import Finding, fail, ok, skip, warn
from kgpud.doctor.inside import look
from kgpud.doctor.patient import Canary, Patient
from kgpud.object_settings import Objects

_FIREWALL = "no NetworkPolicy guards that: see the firewall lines in docs/operator.md"
_APPLY = "kgpud manifests | kubectl apply -f -"
# Prints open, or why not. A refusal counts as closed: some network plugins reject, some drop.
_DIAL = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 4).close()
    print("open")
except OSError as error:
    print("closed:", error)
"""
# Listens on a free port, prints it, and goes on in the background.
_LISTEN = """\
import os, socket
both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
one = socket.create_server(("", 0), **both)
print(one.getsockname()[1], flush=True)
if os.fork():
    os._exit(0)
os.setsid()
null = os.open("/dev/null", os.O_RDWR)
for number in range(3):
    os.dup2(null, number)
while True:
    one.accept()
"""
_API_SERVER = "import os; print(os.environ.get('KUBERNETES_SERVICE_HOST', ''))"


async def reach(patient: Patient) -> AsyncIterator[Finding]:
    """Try what must be reached, then what must not; without the first the second proves nothing."""
    if len(patient.canaries) < 2:  # noqa: PLR2004 - one to call, one to be called
        yield skip("network", "there are no two canaries to try it with")
        return
    one, other = patient.canaries[0], patient.canaries[-1]
    if (await look(patient, one, ["python3", "-c", ""])).exit_code:
        yield skip("network", "the default image has no python3 to try it with")
        return
    outside = [await _api(patient, one), await _internet(patient, one)]
    if store := _store(patient.config.objects):
        said = await _dial(patient, one, store.host, store.port)
        outside.append(_judged("pods reach the objects", store, said))
    for finding in outside:
        yield finding
    if not any(finding.verdict == "ok" for finding in outside):
        yield skip("network policy", "pods reach nothing at all, so nothing is shown")
        return
    yield await _neighbour(patient, one, other)
    yield await _private(patient, one)


async def _dial(patient: Patient, canary: Canary, host: str, port: int) -> str:
    done = await look(patient, canary, ["python3", "-c", _DIAL, host, str(port)])
    return done.stdout.decode(errors="replace").strip() or "no answer"


async def _api(patient: Patient, canary: Canary) -> Finding:
    config = patient.config
    base = policies.of_url(config.public_url) or config.http.listen.reachable()
    said = await _dial(patient, canary, base.host, base.port)
    check = "pods reach the API"
    if said != "open" and not config.public_url:
        return skip(check, "public_url is not set, so it has no address for them")
    return _judged(check, base, said)


def _store(objects: Objects) -> Address | None:
    """Return where presigned URLs lead; None for our own folder, and for AWS, on the internet."""
    found = policies.of_url(objects.s3.endpoint) if objects.store == "s3" else None
    if found and objects.s3.addressing == "virtual":
        return replace(found, host=f"{objects.s3.bucket}.{found.host}")
    return found


def _judged(check: str, service: Address, said: str) -> Finding:
    if said == "open":
        return ok(check, str(service))
    remedy = f"if it has a private address, put that into network.allow, then {_APPLY}"
    return fail(check, f"{service}: {said}", remedy)


async def _internet(patient: Patient, canary: Canary) -> Finding:
    registries = patient.config.images.allowed_registries
    host = registries[0].partition("/")[0] if registries else "docker.io"
    said = await _dial(patient, canary, host, 443)
    if said == "open":
        return ok("pods reach the internet", f"{host}:443")
    remedy = "let port 53 and 443 out, or tell users that pip and git have no network here"
    return warn("pods reach the internet", f"{host}:443: {said}", remedy)


async def _neighbour(patient: Patient, canary: Canary, other: Canary) -> Finding:
    """Call a port that certainly listens at an address that is certainly private."""
    listening = await look(patient, other, ["python3", "-c", _LISTEN])
    port = listening.stdout.strip()
    if not port.isdigit() or not other.address:
        return skip("network policy", "the neighbour can't listen")
    said = await _dial(patient, canary, other.address, int(port))
    if said == "open":
        remedy = f"{_APPLY}; if that is done, the network plugin enforces no NetworkPolicy"
        return fail("network policy", f"pods reach each other at {other.address}", remedy)
    seen = (await look(patient, other, ["cat", "/proc/net/if_inet6"])).stdout.decode()
    for link in _links(seen) if other.node == canary.node else ():
        if await _dial(patient, canary, link, int(port)) == "open":
            return warn("network policy", f"pods of a node reach each other at {link}", _FIREWALL)
    return ok("network policy", f"pods can't reach each other at {other.address}")


def _links(if_inet6: str) -> list[str]:
    """Return a pod's link-local addresses as its neighbours write them (proc_net(5), if_inet6)."""
    rows = [line.split() for line in if_inet6.splitlines()]
    return [
        f"{IPv6Address(bytes.fromhex(row[0]))}%{row[5]}"
        for row in rows
        if len(row) == 6 and row[3] == "20"  # noqa: PLR2004 - address, index, prefix, scope, flags, name
    ]


async def _private(patient: Patient, canary: Canary) -> Finding:
    """Call the API server where every pod is told that it is."""
    done = await look(patient, canary, ["python3", "-c", _API_SERVER])
    host = done.stdout.decode(errors="replace").strip()
    if not host:
        return skip("node addresses", "pods are told no address of the API server")
    if await _dial(patient, canary, host, 443) == "open":
        return warn("node addresses", f"pods reach the API server at {host}:443", _FIREWALL)
    return ok("node addresses", f"pods can't reach the API server at {host}:443")
