"""The firewall lines for nodes, in network namespaces: who gets through, and who does not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "config" / "k3s" / "kgpud.nft"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not (shutil.which("nft") and shutil.which("ip")), reason="needs nft and ip"),
]

# This namespace is a node between its pod, a machine beside it and one on the internet.
SCENE = r"""
set -e
mount -t tmpfs none /run
ip link set lo up
for one in pod lan; do ip netns add $one; ip link add $one type veth peer name eth0 netns $one; done
ip addr add 10.42.0.1/24 dev pod; ip addr add 192.168.7.1/24 dev lan
ip link set pod up; ip link set lan up
ip -n pod addr add 10.42.0.9/24 dev eth0
ip -n lan addr add 192.168.7.7/24 dev eth0; ip -n lan addr add 203.0.113.5/32 dev eth0
for one in pod lan; do ip -n $one link set eth0 up; ip -n $one link set lo up; done
ip -n pod route add default via 10.42.0.1
ip -n lan route add default via 192.168.7.1
ip route add 203.0.113.5 via 192.168.7.7
echo 1 >/proc/sys/net/ipv4/ip_forward
for again in 1 2; do nft -f "$RULES"; done
"$PYTHON" -c "$LISTEN" & node=$!
ip netns exec lan "$PYTHON" -c "$LISTEN" & lan=$!
ip netns exec pod "$PYTHON" -c "$DIAL"
nft -j list table inet kgpud >&2
kill $node $lan
"""
LISTEN = """\
import socket, time
kept = [socket.create_server(("", port)) for port in (22, 53, 443, 6443, 10250)]
time.sleep(60)
"""
# Refused is not dropped: whoever listens there is not up yet.
DIAL = """\
import json, socket, time
from concurrent.futures import ThreadPoolExecutor

def through(address):
    while True:
        try:
            socket.create_connection(address, 0.8).close()
            return True
        except ConnectionRefusedError:
            time.sleep(0.02)
        except TimeoutError:
            return False

hosts = ("10.42.0.1", "192.168.7.1", "192.168.7.7", "203.0.113.5")
tries = [(host, port) for host in hosts for port in (22, 53, 443, 6443, 10250)]
with ThreadPoolExecutor(len(tries)) as pool:
    print(json.dumps([tries[n] for n, ok in enumerate(pool.map(through, tries)) if ok]))
"""


@pytest.fixture(scope="module")
def scene() -> tuple[set[tuple[str, int]], list[dict[str, object]]]:
    """What the pod could connect to, and the rules as they stand after they were loaded twice."""
    words = {"RULES": str(RULES), "PYTHON": sys.executable, "LISTEN": LISTEN, "DIAL": DIAL}
    argv = ["unshare", "--net", "--mount", "sh", "-c", SCENE]
    done = subprocess.run(argv, env={**os.environ, **words}, capture_output=True, text=True)
    if "Operation not permitted" in done.stderr:
        pytest.skip("no namespaces or rules of one's own may be made here")
    assert done.returncode == 0, done.stderr
    passed = {(host, port) for host, port in json.loads(done.stdout)}
    return passed, json.loads(done.stderr.splitlines()[-1])["nftables"]


def test_pods_get_at_nothing_of_a_node_or_beside_it_but_what_the_clusters_own_need(
    scene: tuple[set[tuple[str, int]], object],
) -> None:
    passed, _ = scene
    needed = {53, 6443, 10250}
    for private in ("10.42.0.1", "192.168.7.1", "192.168.7.7"):
        assert {port for host, port in passed if host == private} == needed, passed


def test_pods_get_at_the_internet(scene: tuple[set[tuple[str, int]], object]) -> None:
    assert {port for host, port in scene[0] if host == "203.0.113.5"} == {22, 53, 443, 6443, 10250}


def test_loaded_again_the_lines_are_there_once(
    scene: tuple[object, list[dict[str, object]]],
) -> None:
    assert str(scene[1]).count("'jump'") == RULES.read_text().count("jump from_pods")
