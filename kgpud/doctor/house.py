"""The daemon's own house: its state folder, database and host keys."""

import os
import pwd
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from gateway import hostkeys
from kgpud import statefolder
from kgpud.doctor.findings import Finding, fail, ok, skip, warn
from kgpud.doctor.patient import Patient
from store.db import Database, StoreDamaged, StoreUnavailable
from store.migrate import TooNew, TooOld

_OTHERS = 0o077
_LITTLE_DISK = 1 << 30
_MIB = 1 << 20
_NOT_YET = "is not there yet: the daemon makes it when it starts"


async def folder(patient: Patient) -> AsyncIterator[Finding]:
    """Look whether the state folder is there, private, and has room."""
    path = patient.config.state
    try:
        about = path.stat()
        free = shutil.disk_usage(path).free
    except FileNotFoundError:
        yield skip("state folder", f"{path} {_NOT_YET}")
        return
    except OSError as error:
        yield fail("state folder", f"{path}: {error.strerror}", "run this as the daemon's user")
        return
    yield _folder(path, about, free)


def _folder(path: Path, about: os.stat_result, free: int) -> Finding:
    check, mode = "state folder", stat.S_IMODE(about.st_mode)
    if about.st_uid != os.geteuid():
        owner = _user(about.st_uid)
        said = f"{path} is {owner}'s: what this user may read and write is not what the daemon may"
        return warn(check, said, f"runuser -u {owner} -- kgpud doctor")
    if not os.access(path, os.W_OK | os.X_OK):
        return fail(check, f"{path} can't be written", "mend its mode, or mount it to be written")
    if mode & _OTHERS:
        return warn(check, f"{path} has mode {mode:o}", f"chmod 700 {path}")
    if free < _LITTLE_DISK:
        detail = f"{free // _MIB} MiB are left where {path} is"
        return warn(check, detail, "make room: a full disk stops billing and renting")
    return ok(check, f"{path}, {free // _MIB} MiB free")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


async def database(patient: Patient) -> AsyncIterator[Finding]:
    """Look whether the database can be written and is of this program's version."""
    path = patient.config.state / statefolder.DATABASE
    try:
        path.stat()
        await Database.try_writing(path)
    except FileNotFoundError:
        yield skip("database", f"{path} {_NOT_YET}")
    except TooNew as error:
        yield fail("database", str(error), "install the version of kgpud that wrote it, or later")
    except TooOld as error:
        yield warn("database", str(error), "restart the daemon")
    except StoreDamaged as error:
        remedy = "put the last good backup in its place: docs/operator.md says how"
        yield fail("database", str(error), remedy)
    except (OSError, StoreUnavailable) as error:
        remedy = f"run this as the daemon's user, let it write {path}, end what locks it"
        yield fail("database", str(error), remedy)
    else:
        yield ok("database", "can be written, is up to date")


async def host_key(patient: Patient) -> AsyncIterator[Finding]:
    """Look whether the bastion's identity can be read, and by its owner alone."""
    path = patient.config.state / statefolder.HOST_KEY
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        keys = hostkeys.read(path)
    except FileNotFoundError:
        yield skip("host key", f"{path} {_NOT_YET}")
        return
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        remedy = "restore it from the backup: another key looks like an attack to every user"
        yield fail("host key", f"{path} can't be read: {why}", remedy)
        return
    if mode & _OTHERS:
        yield fail("host key", f"{path} has mode {mode:o}", f"chmod 600 {path}, then rotate it")
    else:
        more = ", a successor is announced" if len(keys) > 1 else ""
        yield ok("host key", f"{keys[0].fingerprint}{more}")
