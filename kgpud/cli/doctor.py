"""`kgpud doctor`: one table of what works and what does not, with remedies."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import click

from kgpud.cli.state import json_option, printable, show_json
from kgpud.config import DEFAULT_FILE, Config, ConfigError, load
from kgpud.doctor.findings import Finding, Verdict, fail, ok

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
_NAME_WIDTH = 24


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    help="The daemon's configuration.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=180.0,
    show_default=True,
    help="How long canary pods may take to start, images included.",
)
@json_option
def doctor(path: Path, seconds: float, *, as_json: bool) -> None:
    """Check everything that users and the daemon need, from the state folder to a GPU in a pod.

    Makes small pods and removes them. Exits 1 if anything fails; what it only warns of, or can't
    tell, does not count. Run it as the daemon's user, whether the daemon runs or not.
    """
    findings: list[Finding] = []

    def take(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            _show(finding)

    try:
        config = load(path)
    except ConfigError as error:
        for problem in error.problems:
            take(fail("configuration", problem, "kgpud config check names every mistake"))
    else:
        take(ok("configuration", str(path)))
        asyncio.run(_examine(path.absolute(), config, seconds, take))
    well = not any(finding.verdict is Verdict.FAIL for finding in findings)
    if as_json:
        show_json({"ok": well, "checks": [_fields(finding) for finding in findings]})
    raise click.exceptions.Exit(not well)


async def _examine(
    path: Path, config: Config, seconds: float, take: Callable[[Finding], None]
) -> None:
    # Imported here: the cluster's client library takes a second that `--help` need not wait.
    from gateway.executor import Executor  # noqa: PLC0415
    from kgpud.clock import SystemClock  # noqa: PLC0415
    from kgpud.cluster.client import Cluster  # noqa: PLC0415
    from kgpud.doctor.patient import Patient  # noqa: PLC0415
    from kgpud.doctor.rounds import examine  # noqa: PLC0415

    async with Cluster.of(config.cluster) as cluster:
        patient = Patient(path, config, cluster, Executor(cluster), SystemClock(), seconds)
        async for finding in examine(patient):
            take(finding)


def _show(finding: Finding) -> None:
    verdict = click.style(finding.verdict.ljust(5), fg=_COLOURS[finding.verdict])
    click.echo(
        f"{printable(finding.check).ljust(_NAME_WIDTH)} {verdict} {printable(finding.detail)}"
    )
    if finding.remedy:
        click.echo(f"{'':{_NAME_WIDTH}}       → {printable(finding.remedy)}")


def _fields(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "detail": finding.detail,
        "remedy": finding.remedy,
    }
