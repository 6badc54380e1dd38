"""Uploads to the folder whose daemon or client is killed at any moment: what is said is true."""

import hashlib
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from .dev import Dev, eventually, output
from .serve import front, serving, sign_up, write_config

ROUNDS = 12
SIZES = {"small": 300_000, "whole": 20_000_000, "parts": 60_000_000}
# Parts of 8 MiB for what is more than 30: nothing is there at once, nothing takes long.
SETTINGS = "\n[objects]\nput_mib = 30\npart_mib = 8\n"
RATE = "12M"
LONGEST_SECONDS = 1.2


class Laptop:
    """Uploads the same three files again and again, and knows which uploads were answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = {name: os.urandom(size) for name, size in SIZES.items()}
        self.answered: dict[str, bool] = {}
        self.names: dict[str, str] = {}
        self.running: list[tuple[str | None, subprocess.Popen[bytes]]] = []

    def begin(self, dev: Dev) -> None:
        for name, data in self.data.items():
            digest = hashlib.sha256(data).hexdigest()
            made = dev.api("POST", "/objects", {"size_bytes": len(data), "sha256": digest})
            object_id = made["object_id"]
            self.names[object_id], self.answered[object_id] = name, False
            if made.get("parts"):
                self.running += [(None, self.send(name, part)) for part in made["parts"]]
            else:
                whole = {"offset": 0, "size_bytes": len(data), "url": made["put_url"]}
                self.running.append((object_id, self.send(name, whole)))

    def send(self, name: str, part: dict[str, Any], rate: str = RATE) -> subprocess.Popen[bytes]:
        start, stop = part["offset"], part["offset"] + part["size_bytes"]
        file = self.folder / f"{name}-{start}"
        file.write_bytes(self.data[name][start:stop])
        argv = ["curl", "-sf", "--limit-rate", rate, "-o", "/dev/null", "-T", str(file)]
        return subprocess.Popen([*argv, part["url"]])

    def end(self) -> None:
        for object_id, process in self.running:
            if process.wait(60) == 0 and object_id is not None:
                self.answered[object_id] = True
        self.running.clear()

    def check(self, dev: Dev, object_id: str) -> None:
        """What was answered is there and is what was sent; what was not can be sent again."""
        path, name = f"/objects/{object_id}", self.names[object_id]
        found = dev.api("GET", path)
        for part in found.get("parts") or ():
            assert self.send(name, part, "1G").wait(60) == 0
        if found["state"] == "pending" and name == "parts":
            found = dev.api("POST", f"{path}/complete")
        assert found["_status"] == 200, found
        assert found["state"] == "ready" or not (self.answered[object_id] or name == "parts")
        if found["state"] == "ready":
            assert output(["curl", "-sSf", found["get_url"]]) == self.data[name]
        assert dev.api("DELETE", path)["_status"] == 200


@pytest.mark.slow
def test_killed_at_any_moment(kubeconfig: Path, tmp_path: Path) -> None:
    chance = random.Random(8)
    config = write_config(tmp_path, kubeconfig, SETTINGS)
    folder = tmp_path / "state" / "objects"
    laptop = Laptop(tmp_path)
    token = ""
    for _ in range(ROUNDS):
        with serving(config) as process:
            token = token or sign_up(config)
            dev = front(config, process, token)
            for object_id in list(laptop.names):
                laptop.check(dev, object_id)
                del laptop.names[object_id]
            # No half of anything, nor what was deleted.
            eventually(lambda: not [path for path in folder.rglob("*") if path.is_file()])
            laptop.begin(dev)
            time.sleep(chance.random() * LONGEST_SECONDS)
            if chance.random() < 0.4:
                chance.choice(laptop.running)[1].kill()
            process.kill()
            process.wait()
        laptop.end()
