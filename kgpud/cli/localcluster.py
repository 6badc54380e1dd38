"""`kgpud local-cluster`: the embedded cluster on its own, in the foreground."""

from pathlib import Path

import click


@click.command("local-cluster")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the kubeconfig and the pods.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port on 127.0.0.1; 0 is any free one.",
)
@click.option(
    "--fleet",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="YAML file of simulated nodes; without it, the default menu.",
)
@click.option(
    "--reach",
    multiple=True,
    metavar="HOST:PORT",
    help="An address outside that pods may reach; may be repeated.",
)
@click.option("--tls", is_flag=True, help="Serve HTTPS, with a certificate authority of its own.")
@click.option(
    "--token-auth-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='More users: lines of token,user,uid,"group1,group2".',
)
@click.option(
    "--exec-translator",
    type=click.Choice(["kubelet", "apiserver"]),
    default="kubelet",
    show_default=True,
    help="Who turns a v5 exec into the runtime's: the kubelet (1.36) or the API server (before).",
)
@click.option(
    "--exec-idle-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=4 * 3600.0,
    show_default=True,
    help="When an exec that is not v5 is cut for its silence.",
)
@click.option("--die-with-stdin", is_flag=True, help="End when standard input ends.")
def local_cluster(
    state: Path,
    port: int,
    fleet: Path | None,
    reach: tuple[str, ...],
    *,
    tls: bool,
    token_auth_file: Path | None,
    exec_translator: str,
    exec_idle_seconds: float,
    die_with_stdin: bool,
) -> None:
    """Serve a small Kubernetes API whose pods are sandboxes on this machine."""
    # Imported here, so that every other command starts without it.
    from kgpud.localcluster.command import Options, start  # noqa: PLC0415
    from kgpud.localcluster.routes_exec import ExecOptions, Translator  # noqa: PLC0415

    options = Options(
        state,
        port,
        fleet,
        reach,
        die_with_stdin=die_with_stdin,
        tls=tls,
        token_auth_file=token_auth_file,
        execs=ExecOptions(Translator(exec_translator), exec_idle_seconds),
    )
    raise SystemExit(start(options))
