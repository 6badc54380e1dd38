"""Print the table for README: python -m tests.clients."""

from .shows import table
from .test_readme import every_claim

every_claim()
print(table(), end="")
