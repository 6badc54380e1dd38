"""SFTP into an image that has sftp-server and into one that has a shell and no more.

Every client as people call it; where nothing else is said, each test runs on both images.
"""

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
import pytest

from tests.gateway.sftp.client import CREAT, OPEN, W, packet

from .dev import Dev, Pod, eventually, output

SERVER = "/usr/lib/openssh/sftp-server"
OLD = 1_000_000_000


@pytest.fixture(params=["pod", "bare"])
def image(dev: Dev, request: pytest.FixtureRequest) -> Pod:
    """A pod of either image."""
    del dev  # begun here, it counts as nobody's leftover
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Pod)
    return found


@pytest.fixture
def there(image: Pod, request: pytest.FixtureRequest) -> str:
    """A folder in the pod of the test's own."""
    name = "/workspace/" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    assert image.ssh(f"mkdir -p {name}").returncode == 0
    return name


def odd_tree(top: Path) -> Path:
    """Make a tree of what breaks naive tools."""
    (top / "deep" / "er" / "empty folder").mkdir(parents=True)
    names = [
        b"-rf",
        b"new\nline",
        b"bytes \xff\x81\x88",
        b"' \" $HOME `x` * ? [a] \\n",
        b"a b",
        b"#",
    ]
    for at, name in enumerate(names):
        path = Path(os.fsdecode(os.path.join(os.fsencode(top), b"deep", name)))
        path.write_bytes(bytes([at]) * (at * 40_000))
        os.utime(path, (OLD + at, OLD + 2 * at))
        path.chmod([0o600, 0o755, 0o644, 0o400, 0o777, 0o640][at])
    (top / "zeros").write_bytes(bytes(1_000_000))
    (top / "deep" / "er" / "big").write_bytes(os.urandom(3_000_001))
    (top / "empty").touch()
    for n in range(60):
        (top / "deep" / "er" / f"{n}").write_bytes(os.urandom(n))
    return top


def listed(top: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        about = path.lstat()
        what: object = os.readlink(path) if path.is_symlink() else None
        if path.is_file():
            what = (hashlib.sha256(path.read_bytes()).hexdigest(), int(about.st_mtime))
        found[str(path.relative_to(top))] = (stat.filemode(about.st_mode), what)
    return found


def batch(image: Pod, *lines: str, code: int = 0) -> str:
    argv = ["sftp", *image.options, "-P", image.port, "-b", "-", image.where]
    return output(argv, stdin="\n".join(lines).encode() + b"\n", code=code).decode()


def test_scp_of_an_odd_tree(image: Pod, there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree")
    image.scp("-s", "-r", "-p", str(tree), f"POD:{there}/tree")
    image.scp("-s", "-r", "-p", f"POD:{there}/tree", str(tmp_path / "back"))
    assert listed(tree) == listed(tmp_path / "back")


def test_scp_says_what_went_wrong(image: Pod, there: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(200_000))
    image.scp("-s", f"POD:{there}/missing", str(tmp_path / "y"), code=1)
    assert not (tmp_path / "y").exists()
    image.scp("-s", str(tmp_path / "x"), f"POD:{there}/missing/x", code=1)
    image.scp("-s", str(tmp_path / "x"), "POD:/dev/full", code=1)  # a disk that is full


def test_sftp_by_hand(image: Pod, there: str, tmp_path: Path) -> None:
    content = os.urandom(500_000)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "half").write_bytes(content[:123_457])
    said = batch(
        image,
        "pwd",
        f"cd {there}",
        f"put {tmp_path}/half up",
        f"reput {tmp_path}/file up",
        f"reget up {tmp_path}/half",
        "mkdir folder",
        "-mkdir folder",
        "rename up folder/moved",
        "chmod 640 folder/moved",
        "ln -s folder/moved link",
        "ln folder/moved hard",
        "ls -l",
        "ls -l folder",
        "df",
        "-rmdir folder",
        "rm hard",
        "-get missing",
    )
    assert "Remote working directory: /workspace" in said
    assert "lrwxrwxrwx" in said
    assert "-rw-r-----" in said
    assert "500000" in said
    assert "%Capacity" in said
    assert (tmp_path / "half").read_bytes() == content
    shown = image.ssh(f"cd {there} && ls -A . folder && readlink link && cat folder/moved").stdout
    assert shown == b".:\nfolder\nlink\n\nfolder:\nmoved\nfolder/moved\n" + content
    batch(image, f"rmdir {there}/folder", code=1)
    batch(image, f"get {there}/missing", code=1)


@contextmanager
def mounted(image: Pod, folder: Path, where: str, *options: str) -> Iterator[Path]:
    folder.mkdir()
    # In the foreground, so that it is a child that we can wait for.
    argv = ["sshfs", "-f", f"{image.where}:{where}", str(folder), "-p", image.port, *options]
    # What sshfs hands on to ssh has the form -o name=value.
    words = image.options[image.options.index("-o") :]
    process = subprocess.Popen([*argv, "-o", f"IdentityFile={image.key}", *words])
    try:
        eventually(lambda: os.path.ismount(folder) or process.poll() is not None)
        assert process.poll() is None
        yield folder
    finally:
        subprocess.run(["fusermount3", "-u", str(folder)], check=False, timeout=20)
        process.wait(20)


has_fuse = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="there is no /dev/fuse")


@has_fuse
@pytest.mark.parametrize("option", [f"-osftp_server={SERVER}", "-oreconnect"])
def test_sshfs_edits(image: Pod, there: str, tmp_path: Path, option: str) -> None:
    with mounted(image, tmp_path / "mnt", there, option) as here:
        file = here / "edited"
        file.write_bytes(b"0123456789" * 1000)
        with file.open("r+b") as opened:
            opened.seek(5000)
            opened.write(b"in the middle")
            opened.seek(3)
            opened.write(b"!")
            opened.truncate(8000)
            opened.seek(9000)
            opened.write(b"behind a hole")
            os.fsync(opened.fileno())
        meant = bytearray(b"0123456789" * 800 + bytes(1000) + b"behind a hole")
        meant[5000:5013], meant[3:4] = b"in the middle", b"!"
        assert image.ssh(f"cat {there}/edited").stdout == bytes(meant)
        with file.open("ab") as opened:
            opened.write(b" and more")
        assert file.read_bytes() == bytes(meant) + b" and more"


@has_fuse
def test_sshfs_renames_links_and_attributes(image: Pod, there: str, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mnt", there) as here:
        (here / "new").write_text("new")
        (here / "old").write_text("old")
        with (here / "old").open() as opened:
            (here / "new").rename(here / "old")
            assert opened.read() == "old"
        assert (here / "old").read_text() == "new"
        os.utime(here / "old", (OLD + 5, OLD))
        (here / "old").chmod(0o4751)
        about = (here / "old").stat()
        assert (about.st_atime, about.st_mtime, about.st_mode) == (OLD + 5, OLD, 0o104751)
        (here / "link").symlink_to("some where/else")
        assert os.readlink(here / "link") == "some where/else"
        (here / "also").hardlink_to(here / "old")
        assert shutil.disk_usage(here).total > 0
        (here / "folder").mkdir(mode=0o700)
        with pytest.raises(FileExistsError):
            (here / "folder").mkdir()
        with pytest.raises(FileNotFoundError):
            (here / "missing").read_text()
        for n in range(300):
            (here / "folder" / str(n)).touch()
        assert len(os.listdir(here / "folder")) == 300
        shutil.rmtree(here / "folder")
    shown = image.ssh(f"cd {there} && ls -A && stat -c %a old && cat also").stdout
    assert shown == b"also\nlink\nold\n4751\nnew"


@has_fuse
def test_sshfs_sees_what_the_pod_does(image: Pod, there: str, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mnt", there, "-odir_cache=no") as here:
        image.ssh(f"cd {there}; mkdir made; echo in the pod >made/there")
        assert (here / "made" / "there").read_text() == "in the pod\n"


@contextmanager
def library(image: Pod) -> Iterator[paramiko.SFTPClient]:
    client = paramiko.SSHClient()
    client.load_host_keys(image.dev.env["KGPU_KNOWN_HOSTS"])
    with socket.create_connection((image.dev.env["KGPU_SSH_HOST"], int(image.port))) as sock:
        client.connect(
            image.dev.env["KGPU_SSH_HOST"],
            int(image.port),
            "kgpu",
            pkey=paramiko.Ed25519Key.from_private_key_file(str(image.key)),
            allow_agent=False,
            look_for_keys=False,
            sock=sock,
            timeout=20,
        )
        with client, client.open_sftp() as sftp:
            yield sftp


def test_paramiko(image: Pod, there: str, tmp_path: Path) -> None:
    content = os.urandom(2_000_003)
    (tmp_path / "file").write_bytes(content)
    with library(image) as sftp:
        sftp.chdir(there)
        assert sftp.getcwd() == there
        assert sftp.put(str(tmp_path / "file"), "file").st_size == len(content)
        sftp.get("file", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == content
        with sftp.open("file", "r+") as opened:
            opened.seek(1_999_999)
            opened.write(b"patched and longer")
            opened.truncate(2_000_010)
        with sftp.open("file") as opened:
            assert opened.readv([(0, 10), (1_999_990, 50)])
        with sftp.open("file", "a") as opened:
            opened.write(b"end")
        assert sftp.stat("file").st_size == 2_000_013
        sftp.utime("file", (OLD, OLD))
        sftp.symlink("file", "link")
        sftp.posix_rename("link", "file2")
        assert sftp.readlink("file2") == "file"
        names = {entry.filename: entry for entry in sftp.listdir_iter()}
        assert sorted(names) == ["file", "file2"]
        assert names["file"].st_mtime == OLD
        with pytest.raises(FileNotFoundError):
            sftp.stat("missing")
        with pytest.raises(OSError, match=r"Failure|exists"):
            sftp.mkdir(there)
        assert sftp.normalize("../.") == "/workspace"


def test_lftp_mirrors(image: Pod, there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree")
    # It reads names as text and asks at a line's end.
    for name in os.listdir(os.fsencode(tree / "deep")):
        if b"\n" in name or b"\xff" in name:
            os.unlink(os.path.join(os.fsencode(tree / "deep"), name))
    ssh = " ".join(["ssh", "-a", "-x", *image.options])
    script = [
        f'set sftp:connect-program "{ssh}"',
        "set net:max-retries 1",
        "set cmd:fail-exit true",
        f"open -u kgpu,none -p {image.port} sftp://{image.dev.env['KGPU_SSH_HOST']}",
        f"mirror -R {tree} {there}/tree",
        f"mirror {there}/tree {tmp_path}/back",
    ]
    output(["lftp", "-c", "; ".join(script)])
    assert {name: about[1] for name, about in listed(tree).items()} == {
        name: about[1] for name, about in listed(tmp_path / "back").items()
    }


def test_psftp(image: Pod, there: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    putty = tmp_path / "key.ppk"
    output(["puttygen", str(image.key), "-O", "private", "-o", str(putty)])
    fingerprint = output(["ssh-keygen", "-l", "-f", image.dev.env["KGPU_KNOWN_HOSTS"]]).split()[1]
    argv = ["psftp", "-batch", "-bc", "-b", "/dev/stdin", "-i", str(putty), "-P", image.port]
    argv += ["-hostkey", fingerprint.decode(), image.where]
    lines = [f"cd {there}", f"put {tmp_path}/file up", f"get up {tmp_path}/back", "ls"]
    output(argv, stdin="\n".join(lines).encode() + b"\n")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


@pytest.mark.slow
def test_rclone(image: Pod, there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree")
    for name in os.listdir(os.fsencode(tree / "deep")):
        if b"\xff" in name:  # it has no names but text
            os.unlink(os.path.join(os.fsencode(tree / "deep"), name))
    host = f":sftp,host={image.dev.env['KGPU_SSH_HOST']},port={image.port},user=kgpu"
    remote = f"{host},key_file={image.key},known_hosts_file={image.dev.env['KGPU_KNOWN_HOSTS']}"
    program = Path(sys.executable).with_name("rclone")
    rclone = [str(program), "--config", "", "--retries", "1"]
    output([*rclone, "sync", str(tree), f"{remote}:{there}/tree"])
    output([*rclone, "sync", f"{remote}:{there}/tree", str(tmp_path / "back")])
    back = listed(tmp_path / "back")
    assert {one: about[1] for one, about in listed(tree).items() if about[1]} == {
        one: about[1] for one, about in back.items() if about[1]
    }


# What a process list of the bare image shows of an agent and of the files that it holds open.
AGENT, HELD = "kgpud: no sftp-server", "sleep 2147483647"


def processes(bare: Pod, text: str) -> list[str]:
    """Return the pids of what runs in the pod with `text` in its command line."""
    look = "for d in /proc/[0-9]*; do echo ${d#/proc/} $(tr '\\0' ' ' <$d/cmdline); done"
    lines = bare.ssh(look).stdout.decode().splitlines()
    return [line.split()[0] for line in lines if text in line and look not in line]


@contextmanager
def held_open(bare: Pod) -> Iterator[subprocess.Popen[bytes]]:
    """A client with a file open and no more to ask."""
    with bare.start("-s", "sftp") as client:
        try:
            assert client.stdin
            asked = packet(1, 3) + packet(OPEN, 7, b"/workspace/held", W | CREAT, {})
            client.stdin.write(asked)
            client.stdin.flush()
            eventually(lambda: processes(bare, HELD))
            yield client
        finally:
            with suppress(ProcessLookupError):
                client.kill()


def test_when_the_client_goes_the_agent_goes(bare: Pod) -> None:
    with held_open(bare) as client:
        client.kill()
        client.wait(20)
        eventually(lambda: not processes(bare, AGENT) and not processes(bare, HELD))


def test_an_agent_that_is_killed_is_no_success(bare: Pod) -> None:
    with held_open(bare) as client:
        # Of the two that look like it, the second is the agent and the first waits for it.
        _, agent = processes(bare, AGENT)[-2:]
        bare.ssh(f"kill -9 {agent}")
        _, said = client.communicate(timeout=20)
        assert client.returncode == 137
        assert not processes(bare, HELD)
        assert said == b"kgpud: the helper in the pod ended before the session did\n"


def test_after_a_session_nothing_is_left(bare: Pod, tmp_path: Path) -> None:
    bare.scp("-s", "POD:/bin/busybox", str(tmp_path / "x"))
    with library(bare) as sftp:
        kept = [sftp.open(f"/workspace/kept{n}", "w") for n in range(3)]
        assert len(processes(bare, HELD)) == 3
        del kept
    eventually(lambda: not processes(bare, HELD) and not processes(bare, AGENT))


def test_a_file_without_a_size(bare: Pod) -> None:
    with library(bare) as sftp, sftp.open("/proc/cpuinfo") as opened:
        assert b"processor" in opened.read(4096)


def test_rsync_where_there_is_none(bare: Pod) -> None:
    shell = " ".join(["ssh", *bare.options, "-p", bare.port])
    argv = ["rsync", "-e", shell, "/etc/hostname", f"{bare.where}:/workspace/"]
    done = subprocess.run(argv, capture_output=True, timeout=60)
    assert done.returncode != 0
    assert bare.ssh("rsync --server .").returncode == 127
    [line] = [line for line in done.stderr.splitlines() if not line.startswith(b"rsync")]
    assert line.startswith(b"kgpud: this image has no rsync; install it")
