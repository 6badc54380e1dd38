"""An upload from the page to a bucket, which is another origin: the browser asks it first."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.serve import serving, write_config
from tests.objects.servers import seaweedfs

from .browser import Site


@pytest.mark.slow
async def test_a_file_goes_to_a_bucket_of_another_origin(
    chromium: Browser, kubeconfig: Path, tmp_path: Path
) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(range(256)) * 4096)
    (tmp_path / "store").mkdir()
    with seaweedfs(tmp_path / "store") as bucket:
        s3 = bucket.settings
        config = write_config(
            tmp_path,
            kubeconfig,
            f'[objects]\nstore = "s3"\n[objects.s3]\nendpoint = "{s3.endpoint}"\n'
            f'bucket = "{s3.bucket}"\ncredentials = "{s3.credentials}"\n',
        )
        site = Site(config, "")
        with serving(config):
            site.kgpud("user", "add", "a@example.org")
            site.kgpud("user", "approve", "a@example.org")
            context = await chromium.new_context()
            page = await context.new_page()
            await page.goto(await site.link("a@example.org"))
            await page.get_by_role("button", name="Sign in").click()
            await page.get_by_role("link", name="Objects").click()
            await page.get_by_label("Label").fill("to the bucket")
            await page.get_by_role("button", name="Upload").click()
            # So slow that the progress can be seen.
            slow = await context.new_cdp_session(page)
            await slow.send(
                "Network.emulateNetworkConditions",
                {
                    "offline": False,
                    "latency": 0,
                    "downloadThroughput": -1,
                    "uploadThroughput": 400_000,
                },
            )
            await page.get_by_label("A file from this machine").set_input_files(file)
            await expect(page.get_by_role("progressbar")).to_be_visible()
            await expect(page.get_by_role("status")).to_have_text(
                re.compile(r"data.bin: [1-9]\d? %")
            )
            await expect(page.get_by_role("cell", name="1.0 MB")).to_be_visible()
            await expect(page.get_by_text("ready")).to_be_visible()
            await context.close()
