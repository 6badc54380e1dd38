"""Starting and ending the local cluster: arguments, lock, readiness line, signals."""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kgpud.localcluster import auth, bwrap, cgroups, fleet, folders, reach
from kgpud.localcluster.cluster import Cluster, pod_uid
from kgpud.localcluster.errors import StartError
from kgpud.localcluster.host import Host
from kgpud.localcluster.listening import BACKLOG, listening
from kgpud.localcluster.pod_events import Recorder
from kgpud.localcluster.registry import Registry
from kgpud.localcluster.routes_exec import ExecOptions, Translator
from kgpud.localcluster.timings import Timings


@dataclass(frozen=True)
class Options:
    """How to start: port 0 is any free one; no fleet file is the default menu."""

    state: Path
    port: int = 0
    fleet: Path | None = None
    reach: Sequence[str] = ()
    die_with_stdin: bool = False
    execs: ExecOptions = field(default_factory=ExecOptions)
    tls: bool = False
    token_auth_file: Path | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the local cluster in the foreground; return the exit code."""
    parser = argparse.ArgumentParser(prog="kgpud local-cluster", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for kubeconfig and pods")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (0: any free one)")
    parser.add_argument("--fleet", type=Path, help="YAML file of simulated nodes")
    parser.add_argument("--reach", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--tls", action="store_true", help="serve HTTPS, with a CA of its own")
    parser.add_argument("--token-auth-file", type=Path, help='lines of token,user,uid,"groups"')
    parser.add_argument("--die-with-stdin", action="store_true", help="end when stdin ends")
    parser.add_argument(
        "--exec-translator",
        type=Translator,
        default=ExecOptions.translator,
        metavar="|".join(one.value for one in Translator),
        help="who turns v5 execs into the runtime's: the kubelet (1.36) or the API server (before)",
    )
    parser.add_argument(
        "--exec-idle-seconds",
        type=_seconds,
        default=ExecOptions.idle_seconds,
        metavar="SECONDS",
        help="when the runtime cuts a silent exec that is not v5 (14400)",
    )
    given = vars(parser.parse_args(argv))
    execs = ExecOptions(given.pop("exec_translator"), given.pop("exec_idle_seconds"))
    return start(Options(**given, execs=execs))


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (seconds := float(text)) > 0:
            return seconds
    raise argparse.ArgumentTypeError("seconds are wanted, more than 0")


def start(options: Options) -> int:
    """Run the local cluster until a signal; return the exit code. Says on stderr why not."""
    code = 0
    try:
        asyncio.run(serve(options))
    except* StartError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.stderr.write(f"kgpud local-cluster: {error}\n")
        code = 1
    return code


async def serve(options: Options) -> None:
    """Serve until SIGTERM, SIGINT or the end of stdin. Raises StartError, one line of remedy."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _raise_descriptor_limit()
    os.umask(0o022)  # a container's; with a stricter one pods could not read their own images
    state = options.state.absolute()
    with (
        _locked(state),
        _bound(options.port) as listener,
        folders.pods_folder(state) as pods,
        cgroups.held() as groups,
    ):
        menu = _fleet(options)
        tokens = _tokens(options)
        host = _host(options, pods, groups, menu.timings)
        await bwrap.require_sandboxes(host.bwrap, pod_uid())
        async with asyncio.TaskGroup() as group:
            cluster = Cluster(host, menu.nodes, group)
            cluster.run(host.recorder.expire_in_time(), "events")
            serving = listening(
                cluster, state, listener, tokens, execs=options.execs, with_tls=options.tls
            )
            async with serving as ready:
                models = sorted({node.gpu_model for node in menu.nodes})
                sys.stdout.write(json.dumps({**ready, "gpu_models": models}) + "\n")
                sys.stdout.flush()
                group.create_task(asyncio.to_thread(_remove_what_others_left, pods))
                if options.die_with_stdin:
                    _stop_at_end_of_stdin(stop)
                await stop.wait()
            await cluster.close()


def _remove_what_others_left(pods: Path) -> None:
    folders.remove_leftovers(pods)
    folders.remove_orphans()
    cgroups.remove_stale()


def _fleet(options: Options) -> fleet.Fleet:
    if options.fleet is not None:
        return fleet.read_fleet(options.fleet)
    return fleet.default_fleet(fleet.real_nodes())


def _tokens(options: Options) -> auth.Tokens:
    tokens = auth.Tokens()
    if options.token_auth_file is not None:
        auth.read_token_file(options.token_auth_file, tokens)
    return tokens


def _host(
    options: Options, pods: Path, groups: cgroups.Groups | str | None, timings: Timings
) -> Host:
    """Return what pods are made with; say on stderr what this machine can't do for them."""
    if isinstance(groups, str):
        words = f"memory limits are kept by a look now and then, not by cgroups ({groups})"
        sys.stderr.write(f"kgpud local-cluster: {words}\n")
        groups = None
    registry = Registry()
    reached = [reach.parse(text) for text in options.reach]
    try:
        program = bwrap.find(pods)
        host = Host(registry, Recorder(registry), pods, program, reached, pod_uid, groups, timings)
        host.images.mkdir(mode=0o755)
    except OSError as error:
        raise StartError(f"--state {options.state}: {error}") from None
    return host


def _raise_descriptor_limit() -> None:
    """Take what the host allows: every exec needs half a dozen descriptors."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _locked:  # noqa: N801  (used as a with-statement's word)
    """Hold `state/lock`, so that two clusters never share one folder."""

    def __init__(self, state: Path) -> None:
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = (state / "lock").open("w")
        except OSError as error:
            raise StartError(f"--state {state}: {error}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise StartError(
                f"another local cluster uses {state}: end it, or give another --state"
            ) from None

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_args: object) -> None:
        self._file.close()


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"--port {port}: {error.strerror}: give another, or 0") from None
    return listener


def _stop_at_end_of_stdin(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def readable() -> None:
        try:
            ended = not os.read(0, 4096)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            loop.remove_reader(0)
            stop.set()

    os.set_blocking(0, False)
    try:
        loop.add_reader(0, readable)
    except OSError:  # a file or /dev/null can't be waited for: it has ended already
        stop.set()
