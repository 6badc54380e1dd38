"""The few system calls that Python 3.11 does not offer. Helper side: standard library alone."""

import ctypes
import fcntl
import os
import platform
import signal
import socket
import struct

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
NS_GET_USERNS = 0xB701
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441
LAST_CAPABILITY = 63

# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW
# SYS_CHROOT SETFCAP: what a container runtime gives by default, by name and number.
CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_SETFCAP": 31,
}

_SYSCALL_ARCH = {
    "x86_64": (0xC000003E, (92, 93, 94, 260)),
    "aarch64": (0xC00000B7, (54, 55)),
}
_KEYCTL, _JOIN_SESSION_KEYRING = {"x86_64": 250, "aarch64": 219}, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def setns(fd: int) -> None:
    """Join the namespace behind `fd`; OSError when it may not be."""
    if _libc.setns(fd, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def prctl(option: int, argument: int) -> None:
    """Set one process attribute; OSError when the kernel refuses."""
    if _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def leave_session_keyring() -> None:
    """Have an empty session keyring: the keys in the one that was inherited are whoever's began us.

    Nothing where the kernel has no keyrings, or another machine's numbers are not known here.
    """
    if (number := _KEYCTL.get(platform.machine())) is not None:
        _libc.syscall(number, _JOIN_SESSION_KEYRING, None)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent thread ends. Undone by setuid."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def chown_filter() -> bytes:
    """Return the BPF program that answers success to the chown family, as fakeroot would.

    In a user namespace of one id every chown fails with EINVAL, which breaks `tar x` and
    `rsync -a`. Empty on an architecture whose numbers are not known here.
    """
    if platform.machine() not in _SYSCALL_ARCH:
        return b""
    architecture, calls = _SYSCALL_ARCH[platform.machine()]
    load, jump_equal, give_back = 0x20, 0x15, 0x06
    program = [
        (load, 0, 0, 4),
        (jump_equal, 1, 0, architecture),
        (give_back, 0, 0, 0x7FFF0000),
        (load, 0, 0, 0),
    ]
    for index, call in enumerate(calls):
        program.append((jump_equal, len(calls) - index, 0, call))
    program += [(give_back, 0, 0, 0x7FFF0000), (give_back, 0, 0, 0x00050000)]
    return b"".join(struct.pack("HBBI", *line) for line in program)


def install_filter(program: bytes) -> None:
    """Put this process and its children under a BPF program; needs no-new-privs first."""
    if not program:
        return
    compiled = _Program(len(program) // 8, program)
    if _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(compiled), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def drop_capabilities() -> None:
    """Take everything but the container default set from the bounding set."""
    kept = set(CAPABILITIES.values())
    for number in range(LAST_CAPABILITY + 1):
        if number not in kept and _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            return  # The kernel's last capability has been passed.


def add_loopback_address(address: str, alias: int) -> None:
    """Give the loopback device of this network namespace one more IPv4 address."""
    name = f"lo:{alias}".encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        packed = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(control, 0x8916, packed)  # SIOCSIFADDR
        mask = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, b"\xff\xff\xff\xff")
        fcntl.ioctl(control, 0x891C, mask)  # SIOCSIFNETMASK
