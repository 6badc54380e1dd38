#!/usr/bin/env python3
"""Says whether the default image is what users were promised: `kgpu-smoke`.

Imports, programs, the list of kernels, and, where there is a GPU, a product of matrices on it.
Exits 1 with a line for each thing that is missing. KGPU_SMOKE_NO_GPU=1 leaves the GPU out.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

MODULES = (
    "torch", "wfdb", "vitaldb", "scipy", "sklearn", "pandas", "matplotlib", "seaborn", "duckdb",
    "pyarrow",
)  # fmt: skip
PROGRAMS = ("tmux", "uv", "zstd", "rsync", "/usr/lib/openssh/sftp-server", "sh", "tar")
KERNELS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


def imports() -> Iterator[str]:
    """Yield the modules that can't be imported."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield f"import {name}: {error}"


def programs() -> Iterator[str]:
    """Yield the programs that are not there."""
    for name in PROGRAMS:
        if shutil.which(name) is None:
            yield f"{name} is not there"


def kernels() -> Iterator[str]:
    """Yield the architectures that PyTorch was not built for.

    A kernel runs on every later card of its generation: what has sm_80 needs no sm_86 of its own.
    """
    import torch

    built = torch.cuda.get_arch_list()
    yield from (f"no kernels for {name}: {built}" for name in KERNELS if not _served(name, built))


def _served(name: str, built: list[str]) -> bool:
    wanted = int(name.removeprefix("sm_"))
    have = [int(found[1]) for one in built if (found := re.match(r"sm_(\d+)", one))]
    return any(one // 10 == wanted // 10 and one <= wanted for one in have)


def gpu() -> Iterator[str]:
    """Yield what is wrong with the first GPU, and with nvidia-smi."""
    if os.environ.get("KGPU_SMOKE_NO_GPU"):
        return
    import torch

    if not torch.cuda.is_available():
        yield "CUDA finds no GPU"
        return
    one = torch.eye(512, device="cuda")
    if not torch.equal(one @ one, one):
        yield "the GPU multiplies wrongly"
    if subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.DEVNULL).returncode:
        yield "nvidia-smi fails"


def main() -> int:
    """Look at everything; return the exit code."""
    checks: tuple[Callable[[], Iterator[str]], ...] = (imports, programs, kernels, gpu)
    wrong = []
    for check in checks:
        try:
            wrong += check()
        except (ImportError, RuntimeError, OSError) as error:
            wrong.append(f"{check.__name__}: {error}")
    for line in wrong:
        print(line, file=sys.stderr)
    print("ok" if not wrong else f"{len(wrong)} things are wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
