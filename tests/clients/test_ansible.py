"""Ansible, with pipelining and without; what it copies goes by SFTP."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.dev import Pod

from .shows import BARE, DEFAULT, shows

MODULES = "modules with pipelining and without: ping, command, shell, copy, fetch"
PLAY = """\
- hosts: pod
  gather_facts: false
  tasks:
    - ping:
    - command: echo "a b" 'c'
      register: said
      failed_when: said.stdout != 'a b c'
    - shell: exit 3
      register: failed
      failed_when: failed.rc != 3
    - copy: {src: data, dest: "{{ there }}/it's here", mode: "0640"}
    - fetch: {src: "{{ there }}/it's here", dest: back, flat: true}
"""


def ansible(
    image: Pod, folder: Path, program: str, *words: str, **settings: str
) -> "subprocess.CompletedProcess[str]":
    known_hosts = image.dev.env["KGPU_KNOWN_HOSTS"]
    (folder / "inventory").write_text(
        f"pod ansible_host={image.dev.env['KGPU_SSH_HOST']} ansible_port={image.port}"
        f" ansible_user=kgpu ansible_ssh_private_key_file={image.key}"
        f" ansible_ssh_common_args='-F none -o UserKnownHostsFile={known_hosts}'\n"
    )
    (folder / "ansible.cfg").touch()
    env = {
        **os.environ,
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        # As it is by default, but for the minute that the shared connection outlives it.
        "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=2s",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        # By default ~kgpu, and pods have no such account.
        "ANSIBLE_REMOTE_TMP": "/tmp/.ansible",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        **settings,
    }
    argv = [str(Path(sys.executable).with_name(program)), "-i", str(folder / "inventory"), *words]
    return subprocess.run(
        argv,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
    )


@shows("ansible", MODULES, on=(DEFAULT,))
@pytest.mark.parametrize("pipelining", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_play(image: Pod, there: str, tmp_path: Path, pipelining: str) -> None:
    (tmp_path / "data").write_bytes(os.urandom(500_000))
    (tmp_path / "play.yaml").write_text(PLAY)
    words = ("-e", f"there={there}", "play.yaml")
    done = ansible(image, tmp_path, "ansible-playbook", *words, ANSIBLE_PIPELINING=pipelining)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    assert (tmp_path / "back").read_bytes() == (tmp_path / "data").read_bytes()
    assert image.ssh(f"stat -c %a '{there}'/it*").stdout == b"640\n"


@shows("ansible", MODULES, on=(BARE,), answer="no: modules need Python in the image")
def test_modules_without_python(image: Pod, tmp_path: Path) -> None:
    done = ansible(image, tmp_path, "ansible", "pod", "-m", "ping")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "python3: not found" in done.stdout


@shows("ansible", "`raw`")
def test_raw(image: Pod, tmp_path: Path) -> None:
    done = ansible(image, tmp_path, "ansible", "pod", "-m", "raw", "-a", "echo in $(hostname)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"in {image.pod_id}" in done.stdout
