"""Our SFTP server on stdin and stdout, for `sftp -D`: python -m tests.gateway.sftp SHELL FOLDER."""

import sys
import tempfile
from pathlib import Path

from .local import pump, start

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        process = start(sys.argv[1], Path(folder), Path(sys.argv[2]))
        pump(0, 1, process)
        sys.exit(process.wait(10))
