"""Running the doctor, or one of its checks."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from click.testing import CliRunner

from gateway.executor import Executor
from kgpud.cli import main
from kgpud.clock import SystemClock
from kgpud.cluster.client import Cluster
from kgpud.config import Config
from kgpud.doctor.findings import Finding, Verdict
from kgpud.doctor.patient import Patient
from kgpud.doctor.rounds import Check, Look, _carry_out


def examined(config: Path, *words: str) -> tuple[int, dict[str, Finding]]:
    """Run the command; return its exit code and what it found, by check."""
    result = CliRunner().invoke(main, ["doctor", "--config", str(config), "--json", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    told = json.loads(result.stdout)
    assert told["ok"] is (result.exit_code == 0)
    found = [Finding(**{**one, "verdict": Verdict(one["verdict"])}) for one in told["checks"]]
    for finding in found:
        wrong = finding.verdict in (Verdict.WARN, Verdict.FAIL)
        assert bool(finding.remedy) is wrong, finding
    return result.exit_code, {finding.check: finding for finding in found}


def verdicts(found: dict[str, Finding], verdict: Verdict) -> set[str]:
    return {name for name, finding in found.items() if finding.verdict is verdict}


@asynccontextmanager
async def patient(config: Config, seconds: float = 20) -> AsyncIterator[Patient]:
    async with Cluster.of(config.cluster) as cluster:
        yield Patient(None, config, cluster, Executor(cluster), SystemClock(), seconds)


async def found_by(look: Look, config: Config) -> dict[str, Finding]:
    async with patient(config) as one:
        return {f.check: f for f in await _carry_out(Check("it", look, 20), one)}
