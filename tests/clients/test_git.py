"""git over ssh, to a repository in the pod."""

import os
import shlex
import subprocess
from pathlib import Path

from tests.e2e.dev import Pod

from .shows import BARE, DEFAULT, shows

INSTALL = b"apt-get install git, or apk add git"
SHOWN = ("clone, push, fetch", "`git archive --remote`")


def git(image: Pod, *words: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_SSH_COMMAND": shlex.join(["ssh", *image.options, "-p", image.port]),
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    about = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    argv = ["git", *about, *words]
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, timeout=60)


@shows("git", *SHOWN, on=(DEFAULT,))
def test_a_repository_in_the_pod(image: Pod, there: str, tmp_path: Path) -> None:
    def works(*words: str, cwd: Path) -> bytes:
        done = git(image, *words, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = f"{image.where}:{there}/it's mine.git"
    assert image.ssh(f"""git init -q --bare "{there}/it's mine.git" """).returncode == 0
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    works("init", "-q", str(mine), cwd=tmp_path)
    (mine / "data").write_bytes(os.urandom(3_000_000))
    works("add", ".", cwd=mine)
    works("commit", "-q", "-m", "one", cwd=mine)
    works("push", "-q", where, "HEAD:refs/heads/main", cwd=mine)
    works("clone", "-q", "-b", "main", where, str(theirs), cwd=tmp_path)
    assert (theirs / "data").read_bytes() == (mine / "data").read_bytes()
    (mine / "data").write_text("two")
    works("commit", "-qam", "two", cwd=mine)
    works("push", "-q", where, "HEAD:refs/heads/main", cwd=mine)
    works("pull", "-q", "--ff-only", cwd=theirs)
    assert (theirs / "data").read_text() == "two"
    assert b"data" in works("archive", f"--remote={where}", "main", cwd=tmp_path)


@shows("git", *SHOWN, on=(BARE,), answer="one line: what to install")
def test_where_there_is_none(image: Pod, tmp_path: Path) -> None:
    where = f"{image.where}:/workspace/x.git"
    git(image, "init", "-q", cwd=tmp_path)
    git(image, "commit", "-q", "--allow-empty", "-m", "one", cwd=tmp_path)
    for words in (
        ("clone", where, "x"),
        ("push", where, "HEAD:refs/heads/main"),
        ("archive", f"--remote={where}", "main"),
    ):
        done = git(image, *words, cwd=tmp_path)
        assert done.returncode != 0
        told = [line for line in done.stderr.splitlines() if line.startswith(b"kgpud: ")]
        assert told == [b"kgpud: this image has no git; install it in the pod (%s)" % INSTALL]
