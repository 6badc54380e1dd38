"""The firewall lines for nodes, in network namespaces: who gets through, and who does not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RULES = Path(__file__).parents[2] / "config" / "k3s" / "kgpud.nft"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not (shutil.which("nft") and shutil.which("ip")), reason="needs nft and ip"),
]

# This namespace is a node between two pods, a machine beside it and one on the internet. Before the
# rules are loaded, what they are to keep pods from is there.
SCENE = r"""
set -e
mount -t tmpfs none /run
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
ip link set lo up
ip link add cni0 type bridge; ip addr add 10.42.0.1/24 dev cni0; ip link set cni0 up
for one in pod near lan; do
  ip netns add $one; ip netns exec $one sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
  ip link add veth$one type veth peer name eth0 netns $one
  ip link set veth$one up; ip -n $one link set eth0 up; ip -n $one link set lo up
done
ip link set vethpod master cni0; ip link set vethnear master cni0
ip addr add 192.168.7.1/24 dev vethlan
ip -n pod addr add 10.42.0.9/24 dev eth0; ip -n near addr add 10.42.0.8/24 dev eth0
ip -n lan addr add 192.168.7.7/24 dev eth0; ip -n lan addr add 203.0.113.5/32 dev eth0
ip -n pod route add default via 10.42.0.1
ip -n lan route add default via 192.168.7.1
ip route add 203.0.113.5 via 192.168.7.7
echo 1 >/proc/sys/net/ipv4/ip_forward
"$PYTHON" -c "$LISTEN" & node=$!
for one in near lan; do ip netns exec $one "$PYTHON" -c "$LISTEN" & others="$others $!"; done
link() { echo $("$@" | sed -n 's,.*\(fe80:[^/]*\)/.*,\1%eth0,p'); }
node_link=$(link ip -6 -br addr show cni0) near_link=$(link ip -n near -6 -br addr show eth0)
ip netns exec pod "$PYTHON" -c "$DIAL" $node_link $near_link
for again in 1 2; do nft -f "$RULES"; done
ip netns exec pod "$PYTHON" -c "$DIAL" \
  10.42.0.1 192.168.7.1 192.168.7.7 $node_link 203.0.113.5 10.42.0.8 $near_link
ip netns exec near "$PYTHON" -c "$HEAR" & hearer=$!
ip netns exec pod "$PYTHON" -c "$SHOUT"
wait $hearer
nft -j list ruleset >&2
kill $node $others
"""
LISTEN = """\
import socket, time
both = {"family": socket.AF_INET6, "dualstack_ipv6": True}
kept = [socket.create_server(("::", port), **both) for port in (22, 53, 443, 6443, 10250)]
time.sleep(60)
"""
# Refused is not dropped: whoever listens there is not up yet.
DIAL = """\
import json, socket, sys, time
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

hosts, ports = sys.argv[1:], (22, 53, 443, 6443, 10250)
with ThreadPoolExecutor(len(hosts) * len(ports)) as pool:
    tries = [[pool.submit(through, (host, port)) for port in ports] for host in hosts]
    print(json.dumps([[p for p, one in zip(ports, row) if one.result()] for row in tries]))
"""
# A datagram to the neighbour's own address comes last; a broadcast would be there before it.
HEAR = """\
import json, socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 5005))
one.settimeout(20)
heard = [one.recv(9).decode()]
while heard[-1] != "end":
    heard.append(one.recv(9).decode())
print(json.dumps([heard]))
"""
SHOUT = """\
import socket, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for _ in range(20):
    one.sendto(b"shout", ("255.255.255.255", 5005))
    one.sendto(b"end", ("10.42.0.8", 5005))
    time.sleep(0.05)
"""
ALL, NEEDED = [22, 53, 443, 6443, 10250], [53, 6443, 10250]


@pytest.fixture(scope="module")
def scene() -> tuple[list[Any], str]:
    """Which ports the pod could connect to, before and after, and the rules, loaded twice."""
    scripts = {"LISTEN": LISTEN, "DIAL": DIAL, "HEAR": HEAR, "SHOUT": SHOUT}
    words = {"RULES": str(RULES), "PYTHON": sys.executable, **scripts}
    argv = ["unshare", "--net", "--mount", "sh", "-c", SCENE]
    done = subprocess.run(argv, env={**os.environ, **words}, capture_output=True, text=True)
    if "Operation not permitted" in done.stderr:
        pytest.skip("no namespaces or rules of one's own may be made here")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.splitlines()[-1]


def test_pods_get_at_nothing_of_a_node_or_beside_it_but_what_the_clusters_own_need(
    scene: tuple[list[Any], str],
) -> None:
    before, after, _ = scene[0]
    assert after[:3] == [NEEDED] * 3
    assert (before[0], after[3]) == (ALL, []), "the node's link-local address"


def test_pods_get_at_the_internet(scene: tuple[list[Any], str]) -> None:
    assert scene[0][1][4] == ALL


def test_pods_of_a_node_meet_by_no_address_that_no_policy_knows(
    scene: tuple[list[Any], str],
) -> None:
    before, after, heard = scene[0]
    assert before[1] == ALL
    assert heard == [["end"]], "a broadcast is at nobody's address"
    assert after[5:] == [ALL, []], "by those that the cluster gave them, the policy decides"


def test_loaded_again_the_lines_are_there_once(scene: tuple[object, str]) -> None:
    assert scene[1].count('"jump"') == RULES.read_text().count("jump from_pods")
    assert scene[1].count('"ipv6-icmp"') == 2
