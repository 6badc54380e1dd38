"""The loops of docs/objects.md, as they stand."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.objects.world import World, random_bytes

DOCUMENT = Path(__file__).parents[2] / "docs" / "objects.md"


def blocks() -> list[str]:
    after = DOCUMENT.read_text().split("\n## More than 5 GiB", 1)[1]
    return [part.split("```", 1)[0] for part in after.split("```bash\n")[1:]]


async def run(here: World, folder: Path, script: str, *, seconds: float = 60) -> str:
    env = {**os.environ, "B": f"{here.api.root}/v1", "T": await here.token()}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-u", "-o", "pipefail", "-c", script),
        cwd=folder,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(seconds):
        said, _ = await process.communicate()
    assert process.returncode == 0, said
    return said.decode()


@pytest.mark.parametrize("settings", ["folder", "rclone"], indirect=True)
async def test_the_loop_for_parts(here: World, tmp_path: Path) -> None:
    data = random_bytes((11 << 20) + 77)
    folder = tmp_path / "laptop"
    folder.mkdir()
    (folder / "imagenet.tar").write_bytes(data)
    begin, send = blocks()
    # Interrupted after the first part: the second run sends the other two.
    broken = send.replace('"$URL" || break', '"$URL"; break')
    assert broken != send
    said = await run(here, folder, begin + broken + "echo $OBJ")
    object_id = said.split()[-1]
    assert (await here.call("GET", f"/{object_id}")).body["state"] == "pending"
    assert (
        await run(here, folder, f"OBJ={object_id}\n{begin.split('OBJ=')[0]}{send}") == '"ready"\n'
    )
    url = (await here.call("GET", f"/{object_id}")).body["get_url"]
    assert await here.raw("GET", url) == (200, data)
    assert [path.name for path in folder.iterdir()] == ["imagenet.tar"]
