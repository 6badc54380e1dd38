"""`kgpud dev`: the daemon on its embedded local cluster, with an account ready to use."""

import asyncio
import contextlib
import os
from pathlib import Path

import click

from kgpud import daemon, embedded, logs, reloading, statefolder
from kgpud.accounts import Accounts
from kgpud.cli import devenv
from kgpud.cli.failing import one_line
from kgpud.clock import SystemClock
from kgpud.config import Address, Config
from kgpud.errors import UserError
from kgpud.reasons import LOCAL_CLUSTER_STOPPED
from kgpud.signals import Stop, reload_signal, stop_signals
from kgpud.tokens import Tokens
from store.records import Account

EMAIL = "dev@localhost"
_WHO = "kgpud dev"
_NO_RELOAD = "kgpud dev has no reload, since its pods end with it: stop it and start it again"


class _Address(click.ParamType[Address]):
    name = "HOST:PORT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        try:
            return value if isinstance(value, Address) else Address.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".dev"),
    show_default=True,
    help="Keeps the account, its balance and history.",
)
@click.option(
    "--http",
    type=_Address(),
    default="127.0.0.1:0",
    show_default=True,
    help="Where it serves API and dashboard; port 0 is any free one.",
)
@click.option(
    "--ssh",
    type=_Address(),
    default="127.0.0.1:0",
    show_default=True,
    help="Where the bastion listens; port 0 is any free one.",
)
@click.option(
    "--fleet",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Simulated nodes, as nodes: [{name: a, gpu_model: v100, gpus: 4}].",
)
def dev(state: Path, http: Address, ssh: Address, fleet: Path | None) -> None:
    """Run the platform on its embedded local cluster until Ctrl-C.

    Writes STATE/dev.env when it is ready, for a shell to source.
    """
    with one_line(), statefolder.locked(state.absolute()):
        asyncio.run(_dev(state.absolute(), http, ssh, fleet))


async def _dev(state: Path, http: Address, ssh: Address, fleet: Path | None) -> None:
    devenv.remove(state)
    sockets = daemon.Sockets(daemon.bind(http), daemon.bind(ssh))
    with (
        statefolder.open_log(state / devenv.LOG, os.O_APPEND) as log,
        stop_signals() as stop,
        reload_signal(lambda: reloading.answer(state, error=_NO_RELOAD)),
    ):
        logs.configure("info", log)
        async with (
            embedded.local_cluster(
                state / "cluster", fleet=fleet, reach=daemon.bound(sockets.http)
            ) as cluster,
            asyncio.TaskGroup() as tasks,
        ):
            watch = tasks.create_task(cluster.watch())
            config = Config.dev(
                state,
                http=http,
                ssh=ssh,
                kubeconfig=cluster.kubeconfig,
                gpu_models=cluster.gpu_models,
            )
            await _serve(config, sockets, stop)
            watch.cancel()


async def _serve(config: Config, sockets: daemon.Sockets, stop: Stop) -> None:
    async with daemon.running(
        config, sockets, SystemClock(), hurry=stop.hurry, lost_reason=LOCAL_CLUSTER_STOPPED
    ) as running:
        account = await _account(running.accounts)
        token = await _token(running.tokens, account, devenv.last_token(config.state))
        devenv.write(config.state, running, token)
        try:
            secret = await running.sign_ins.link(account.account_id, _WHO)
            click.echo(devenv.welcome(config.state, running, account, secret))
            await stop.asked.wait()
            with contextlib.suppress(OSError):  # the terminal may be what went
                click.echo("Stopping: sessions are closed, pods go with the local cluster.")
        finally:
            devenv.remove(config.state)


async def _account(accounts: Accounts) -> Account:
    try:
        return await accounts.find(EMAIL)
    except UserError:
        await accounts.add(EMAIL, "Developer", role="maintainer", who=_WHO)
        return await accounts.approve(EMAIL, who=_WHO)


async def _token(tokens: Tokens, account: Account, old: str | None) -> str:
    """Return the token of last time if it still holds, else a fresh one."""
    if old is not None:
        try:
            caller = await tokens.authenticate(old)
        except UserError:
            caller = None
        if caller is not None and caller.account.account_id == account.account_id:
            return old
    return await tokens.issue(account.account_id, _WHO)
