"""What members and maintainers see and do, form by form."""

import asyncio
import re
from contextlib import AsyncExitStack

from .browser import Browser, Site, browser


async def _token_works(one: Browser, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return (await one.fetch("GET", "/v1/me", headers=headers)).status == 200


async def test_a_token_is_seen_once_and_the_old_one_dies(site: Site) -> None:
    async with browser(site) as bob:
        page = await bob.by_provider("bob")
        first = (await bob.post("/token", page.csrf)).shown
        old = next(word for word in first.split() if word.startswith("kgpu_"))
        assert await _token_works(bob, old)
        assert "stops working at once" in (await bob.get("/token")).shown
        second = (await bob.post("/token", page.csrf)).shown
        new = next(word for word in second.split() if word.startswith("kgpu_"))
        assert await _token_works(bob, new)
        assert not await _token_works(bob, old)
        home = await bob.get("/")
        assert new not in home.text
        assert f"{new[:15]}•" in home.text


async def test_a_pod_is_rented_used_and_released(site: Site) -> None:
    async with browser(site) as bob:
        page = await bob.by_provider("bob")
        # A form begins with a class that is on the menu, whatever the address says.
        strange = await bob.get("/rent?gpu_model=gtx1080")
        assert len(re.findall(r"required\s+checked", strange.text)) == 1
        assert "Tesla V100 32 GB" in strange.shown
        wrong = await bob.post("/rent", page.csrf, name="Not A Name", gpu_count="9")
        assert wrong.status == 422
        assert "lower case letters" in wrong.shown
        assert 'aria-invalid="true"' in wrong.text
        large = "\n".join(f"V{n}={'+' * 900}" for n in range(60))
        refused = await bob.post("/rent", page.csrf, env=large, image="not an image")
        assert (refused.status, "image reference" in refused.shown) == (422, True)
        bad_key = await bob.post("/rent", page.csrf, ssh_pubkey="ssh-rsa nonsense")
        assert (bad_key.status, "wrong" in bad_key.text) == (422, True)
        rented = await bob.post("/rent", page.csrf, gpu_model="v100", env="GREETING=hello")
        assert "BEGIN OPENSSH PRIVATE KEY" in rented.text
        pods = await bob.get("/pods")
        pod_id = next(word for word in pods.shown.split() if word.startswith("gpu-rent-"))
        assert "BEGIN OPENSSH" not in (await bob.get(f"/pods/{pod_id}")).text
        token = (await bob.post("/token", page.csrf)).shown
        bearer = next(word for word in token.split() if word.startswith("kgpu_"))
        write = {"cmd": ["sh", "-c", "echo '<script>evil' > /proc/1/fd/1"]}
        headers = {"Authorization": f"Bearer {bearer}"}
        await bob.fetch("GET", f"/v1/pods/{pod_id}?wait=ready&timeout=30", headers=headers)
        done = await bob.fetch("POST", f"/v1/pods/{pod_id}/exec", json=write, headers=headers)
        assert '"exit_code":0' in done.text, done.text
        async with asyncio.timeout(20):
            while "evil" not in (log := await bob.get(f"/pods/{pod_id}/log")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert "&lt;script&gt;evil" in log.text
        assert "<script>evil" not in log.text
        assert "disk is destroyed" in (await bob.get(f"/pods/{pod_id}/release")).shown
        ended = await bob.post(f"/pods/{pod_id}/release", page.csrf)
        assert "The rental was released" in ended.shown
    async with browser(site) as boss:
        await boss.by_provider("boss")
        assert (await boss.get(f"/pods/{pod_id}")).status == 404


async def test_maintainers_alone_see_and_decide(site: Site) -> None:
    site.kgpud("user", "add", "new@example.org")
    async with browser(site) as boss, browser(site) as bob:
        page = await boss.by_provider("boss")
        csrf_of_boss = page.csrf
        people = await boss.get("/admin")
        assert people.shown.index("new@example.org") < people.shown.index("boss@example.org")
        assert "new@example.org" not in (await boss.get("/admin?q=boss")).shown
        one = re.findall(r"/admin/people/(\w+)", people.text.partition("new@example.org")[0])[-1]
        csrf = (await bob.by_provider("bob")).csrf
        for path in ("/admin", "/admin/fleet", "/admin/rentals", "/admin/audit"):
            assert (await bob.get(path)).status == 404
            assert (await boss.get(path)).status == 200
        assert (await bob.post(f"/admin/people/{one}", csrf, do="approve")).status == 404
        assert "pending" in site.kgpud("user", "show", "new@example.org")
        await boss.post(f"/admin/people/{one}", csrf_of_boss, do="approve")
        credit = {"do": "credit", "amount": "500"}
        assert (await boss.post(f"/admin/people/{one}", csrf_of_boss, **credit)).status == 422
        await boss.post(f"/admin/people/{one}", csrf_of_boss, **credit, note="a gift")
        shown = site.kgpud("user", "show", "new@example.org")
        for word in ("approved", "100500", "boss@example.org", "a gift"):
            assert word in shown
        for me in ("boss@example.org", "BOSS@example.org"):
            refused = await boss.post(f"/admin/people/{me}", csrf_of_boss, do="suspend")
            assert refused.status == 400
        await boss.post(f"/admin/people/{one}", csrf_of_boss, do="suspend")
        async with browser(site) as new:
            page = await new.by_link(site, "new@example.org")
            assert (page.status, "suspended" in page.shown) == (403, True)
            await boss.post(f"/admin/people/{one}", csrf_of_boss, do="reinstate")
            assert "Hello, new" in (await new.get("/")).shown
        audit = (await boss.get("/admin/audit")).shown
        for word in (
            "boss@example.org approved the account new@example.org status pending → approved",
            "boss@example.org gave or took credits new@example.org credits 100000 → 100500",
            "boss@example.org suspended the account new@example.org status approved → suspended",
            "boss@example.org let the account in again new@example.org",
        ):
            assert audit.count(word) == 1, audit


async def test_a_maintainer_sees_who_rents_what_and_ends_it(site: Site) -> None:
    async with browser(site) as boss, browser(site) as bob:
        csrf, theirs = (await boss.by_provider("boss")).csrf, (await bob.by_provider("bob")).csrf
        assert "1 of 1 GPUs busy" not in (await boss.get("/admin/fleet")).text
        await bob.post("/rent", theirs, gpu_model="rtx5090", name="taken")
        pod_id = next(w for w in (await bob.get("/pods")).shown.split() if "-taken-" in w)
        async with asyncio.timeout(20):
            while "1 of 1 GPUs busy" not in (await boss.get("/admin/fleet")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert pod_id in (await boss.get("/admin/rentals")).shown
        asked = await boss.get(f"/admin/rentals/{pod_id}/release")
        assert "bob@trusted.example" in asked.shown
        for one, secret in ((bob, theirs), (boss, "")):
            refused = await one.post(f"/admin/rentals/{pod_id}/release", secret)
            assert refused.status in (403, 404)
        assert pod_id not in (await boss.post(f"/admin/rentals/{pod_id}/release", csrf)).shown
        audit = (await boss.get("/admin/audit")).shown
        assert f"boss@example.org ended the rental bob@trusted.example {pod_id}" in audit
        assert "The operator released the rental" in (await bob.get(f"/pods/{pod_id}")).shown


async def test_what_keeps_a_pod_from_starting_is_said(site: Site) -> None:
    async with browser(site) as bob:
        csrf = (await bob.by_provider("bob")).csrf
        await bob.post("/rent", csrf, gpu_model="v100", name="stuck", image="ghcr.io/no/such:1")
        pod_id = next(w for w in (await bob.get("/pods")).shown.split() if "-stuck-" in w)
        async with asyncio.timeout(30):
            while "PullBackOff" not in (page := await bob.get(f"/pods/{pod_id}")).shown:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        # The badge is short, the reason whole.
        assert re.search(r'class="badge pending">\w*PullBackOff<', page.text)
        assert 'class="alert">ImagePullBackOff: ' in page.text
        await bob.post(f"/pods/{pod_id}/release", csrf)


async def test_an_account_follows_from_so_many_places_at_once(site: Site) -> None:
    # A browser of ours has as many connections as an account may have streams.
    async with browser(site) as bob, browser(site) as elsewhere, AsyncExitStack() as stack:
        for one in (bob, elsewhere):
            await one.by_provider("bob")
        places = (bob, elsewhere) * 50
        streams = [await stack.enter_async_context(one.stream("/live")) for one in places]
        for stream in streams:
            assert await stream.content.readline() == b"retry: 1000\n"
        assert (await bob.get("/live")).status == 429
        streams[0].close()
        async with asyncio.timeout(20):
            while True:
                async with bob.stream("/live") as again:
                    if again.status == 200:
                        break
                await asyncio.sleep(0.05)


async def test_a_name_from_outside_is_only_a_name(site: Site) -> None:
    async with browser(site) as one, browser(site) as boss:
        page = await one.by_provider("script")
        assert "<script>document" not in page.text
        assert "&lt;script&gt;document" in page.text
        await boss.by_provider("boss")
        assert "<script>document" not in (await boss.get("/admin")).text


async def test_a_person_who_is_lost_sees_a_page_and_a_program_a_problem(site: Site) -> None:
    people = {"Accept": "text/html,*/*;q=0.8"}
    async with browser(site) as one:
        for path in ("/no/such/page", "/sign-out", "/static/none.css"):
            reply = await one.fetch("GET", path, headers=people)
            assert (reply.status, "There is no such page" in reply.shown) == (404, True)
            assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        for method, path, headers in (
            ("GET", "/no/such/page", {}),
            ("POST", "/no/such/page", people),
            ("GET", "/v1/none", people),
        ):
            reply = await one.fetch(method, path, headers=headers)
            assert (reply.status, '"code":"not_found"' in reply.text) == (404, True)
        assert (await one.fetch("HEAD", "/")).status == 200


async def test_a_page_is_small(site: Site) -> None:
    async with browser(site) as one:
        sizes = []
        page = await one.get("/")
        files = [part.split('"')[0] for part in page.text.split('="/static/')[1:]]
        for path in ("/", *(f"/static/{file}" for file in set(files))):
            reply = await one.fetch("GET", path, headers={"Accept-Encoding": "gzip"})
            assert reply.status == 200
            sizes.append(int(reply.headers.get("Content-Length", len(reply.text))))
        assert len(sizes) >= 4
        assert sum(sizes) < 50 * 1024


async def test_what_was_spent_is_shown_and_saved(site: Site) -> None:
    async with browser(site) as bob:
        page = await bob.by_provider("bob")
        await bob.post("/rent", page.csrf, gpu_model="v100", name="paid")
        pod_id = next(w for w in (await bob.get("/pods")).shown.split() if "-paid-" in w)
        async with asyncio.timeout(20):
            while pod_id not in (await bob.get("/usage")).shown:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        usage = await bob.get("/usage")
        assert "<rect" in usage.text
        assert "trial" in usage.shown
        saved = await bob.get("/usage.csv")
        assert saved.headers["Content-Disposition"].startswith("attachment")
        lines = saved.text.splitlines()
        assert lines[0] == "day,pod_id,name,gpu_model,gpu_count,minutes,credits"
        assert any(f",{pod_id},paid,v100,1,1,10" in line for line in lines)
        await bob.post(f"/pods/{pod_id}/release", page.csrf)


async def test_a_long_history_is_saved_whole(site: Site) -> None:
    async with browser(site) as one:
        page = await one.by_provider("script")
        await one.post("/rent", page.csrf, gpu_model="v100", name="long")
        pod_id = next(w for w in (await one.get("/pods")).shown.split() if "-long-" in w)
        await site.use(pod_id, range(5001))
        lines = (await one.get("/usage.csv")).text.splitlines()
        assert len({line for line in lines if line < "1990" and pod_id in line}) == 5001
        await one.post(f"/pods/{pod_id}/release", page.csrf)


async def test_an_object_is_called_what_the_api_lets_it_be_called(site: Site) -> None:
    async with browser(site) as bob:
        csrf = (await bob.by_provider("bob")).csrf
        for label in ("two\nlines", "\N{ZERO WIDTH SPACE}", "a" * 201):
            refused = await bob.post("/objects", csrf, label=label)
            assert (refused.status, 'aria-invalid="true"' in refused.text) == (422, True)
        assert "Upload object" in (await bob.post("/objects", csrf)).shown


async def test_an_object_is_uploaded_fetched_and_deleted(site: Site) -> None:
    async with browser(site) as bob, browser(site) as boss:
        page = await bob.by_provider("bob")
        made = await bob.post("/objects", page.csrf, label="<i>data</i>")
        assert "<i>data" not in made.text
        url = made.text.partition('data-upload="')[2].partition('"')[0].replace("&amp;", "&")
        assert (await bob.fetch("PUT", url, data=b"some bytes")).status == 200
        objects = await bob.get("/objects")
        assert "10 B" in objects.shown
        path = objects.text.partition('href="/objects/')[2].partition('"')[0]
        shown = await bob.get(f"/objects/{path}")
        get = shown.text.partition("curl -L -o data &#39;")[2].partition("&#39;")[0]
        assert (await bob.fetch("GET", get.replace("&amp;", "&"))).text == "some bytes"
        csrf = (await boss.by_provider("boss")).csrf
        assert (await boss.get(f"/objects/{path}")).status == 404
        assert (await boss.post(f"/objects/{path}/delete", csrf)).status == 404
        assert "deleted" in (await bob.post(f"/objects/{path}/delete", page.csrf)).shown
