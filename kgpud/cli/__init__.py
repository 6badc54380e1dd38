"""The `kgpud` command: one module per noun, imported only when it is called."""

import errno
from importlib import import_module

import click

# Where each command lives and what `--help` says of it, so that help imports none of them.
_COMMANDS = {
    "dev": ("kgpud.cli.dev:dev", "Run the platform on its embedded local cluster."),
    "demo": ("kgpud.cli.demo:demo", "Walk through a first rental, for real, and check each step."),
    "serve": ("kgpud.cli.serve:serve", "Run the daemon on a configured cluster."),
    "reload": ("kgpud.cli.reload:reload", "Hand over to a new daemon; sessions go on."),
    "local-cluster": (
        "kgpud.cli.localcluster:local_cluster",
        "Run the embedded local cluster on its own.",
    ),
    "user": ("kgpud.cli.user:user", "Accounts: add, approve, credit, quota, token."),
    "pod": ("kgpud.cli.pod:pod", "Rentals: list, show, release."),
    "session": ("kgpud.cli.session:session", "SSH sessions, open and past: list."),
    "host-key": (
        "kgpud.cli.hostkey:host_key",
        "The bastion's SSH host key: show, announce, switch.",
    ),
    "db": ("kgpud.cli.db:db", "The store: check that every balance, bill and row agrees."),
    "manifests": (
        "kgpud.cli.manifests:manifests",
        "Print what a cluster needs, for kubectl apply.",
    ),
    "doctor": ("kgpud.cli.doctor:doctor", "Check an installation, from its config to a GPU."),
    "config": ("kgpud.cli.config:config", "Check a configuration file."),
}

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class _Lazy(click.Group):
    """A group that knows its commands by name until one is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names in the order they are shown."""
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, None if there is no such."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; say in a line where what it prints can't be written."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise click.ClickException(f"the output is incomplete: {error.strerror}") from None

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kgpud")
def main() -> None:
    """Rent GPU containers by the minute, over plain ssh, scp, rsync, sshfs and curl."""
