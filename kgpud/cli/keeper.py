"""What commands about accounts work with: the service, and who is at the keyboard."""

import getpass
import os

from kgpud.accounts import Accounts
from kgpud.cli.state import Opened


def accounts(opened: Opened) -> Accounts:
    """Return the accounts of an opened store."""
    config = opened.config
    return Accounts(
        opened.db,
        opened.clock,
        trial_credits=config.trial_credits,
        quota_gpus=config.quota_gpus,
        quota_cpu_pods=config.quota_cpu_pods,
    )


def who() -> str:
    """Return who runs the command, for ledger and log."""
    try:
        # Under sudo everybody is root.
        return f"cli:{os.environ.get('SUDO_USER') or getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
