"""What a user must see of each recorded session: its exit code, and kgpud's line if there is one.

A recording that tells an exit code is plain: the code is the user's, except that a success without
a trailer is none. All others stand in `BROKEN`; what no recording of ours shows, in `NOT_PLAYED`.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.recorded import files

from .recording import Recording
from .replay import RAW, WRAPPED


@dataclass(frozen=True)
class Expected:
    """`code` is None for who left before the end; kgpud's line begins with `line`."""

    code: int | None
    line: str = ""


_BROKE = "the connection to the pod broke: "
_MISSING = _BROKE + "the end of the output is missing"
_EARLY = _BROKE + "it closed early"
_WORDLESS = _BROKE + "it closed without saying how the command ended"
_COULD_NOT = "the cluster could not run the command: "
_NO_SH = "the image has no sh"
_NOT_OURS = _COULD_NOT + "its upgrade answer is not ours"
_NOT_RUNNING = "the pod's container is not running"
_GONE = "the pod is gone"
_DOCTOR = "the cluster refused the exec: the operator should run `kgpud doctor`"
_INTERNAL = _COULD_NOT + "Internal error occurred: "

# The first pattern that fits counts. The code is 255 for all of them.
BROKEN = {
    # The runtime was stopped and says Success, while the command runs on.
    "restart/containerd_*.v5": _MISSING,
    # Everything else that was restarted ends in mid-stream, kindly stopped or not.
    "restart/*": _EARLY,
    # The runtime's idle timer cut it; pings don't set it back.
    "idle-*/idle_silent_*.v4": _EARLY,
    "idle-*/idle_client_pings_*.v4": _EARLY,
    # A message over the limit.
    "exec-1.36-default/big_stdin_frame_67108864.v4": _EARLY,
    "exec-*/big_stdin_frame_34603008.*": _WORDLESS,
    "exec-*/big_stdin_frame_67108864.*": _WORDLESS,
    # There was no process. With the wrapper only its sh can be what is missing.
    "exec-*/bare_scp_missing.*": _NO_SH,
    "exec-*/cmd_not_found*": _NO_SH,
    "exec-*/cmd_empty_string.*": _NO_SH,
    "exec-*/cmd_is_dir.*": _INTERNAL,
    "exec-*/cmd_not_executable.*": _INTERNAL,
    "exec-*/no_command.*": _INTERNAL,
    "exec-apiserver-translated/no_streams.v5": _INTERNAL,
    "exec-*/no_streams.*": _COULD_NOT + "you must specify at least 1 of stdin, stdout, stderr",
    "exec-*/no_such_container.*": _COULD_NOT + "container nope is not valid for pod w1",
    "exec-*/two_containers_default.*": _COULD_NOT + "a container name must be specified",
    "exec-*/pod_unschedulable.*": _COULD_NOT + "pod pend does not have a host assigned",
    "exec-*/pod_*": _NOT_RUNNING,
    "exec-*/no_such_*": _GONE,
    # Nobody may, or not in this sub-protocol.
    "exec-*/anonymous.*": _DOCTOR,
    "exec-*/user_without_rights.*": _DOCTOR,
    "exec-*/rbac_get_vs_create": _DOCTOR,
    "exec-*/proto_bad": _DOCTOR,
    "exec-*/proto_v3": _DOCTOR,
    # It chose a sub-protocol that nobody asked for.
    "exec-*/proto_none": _NOT_OURS,
    "exec-*/proto_channel": _NOT_OURS,
    "exec-*/proto_base64": _NOT_OURS,
    "exec-*/proto_v4base64": _NOT_OURS,
}

# What the real thing says or does not say against the truth: see the README of the recordings.
# (The bare end of an idle stream is one, too, but a setting: the local cluster may be told to.)
FALSE_ANSWERS = (
    "restart/containerd_*",
    "restart/*.v4",
    "exec-1.36-default/stdin_unread_then_exit_*_200000.*",
    "exec-1.36-default/stdin_unread_then_exit_*_1000000.*",
    "exec-1.36-default/stdin_unread_then_exit_*_20000000.*",
)

_STUCK = "the stream hangs on what the engine never sends: "
NOT_PLAYED = {
    "exec-*/not_upgrade": "requests without an upgrade, which the engine never makes",
    "exec-*/close_frame_bad.*": "four sessions with close frames that the engine never sends",
    "exec-*/client_fragmented_message.*": _STUCK + "a message in fragments",
    "exec-*/resize_without_tty_two_*": _STUCK + "a size without a terminal",
    "exec-*/resize_without_tty_five_*": _STUCK + "a size without a terminal",
    "exec-*/tty_resize_garbage.*": _STUCK + "a malformed size",
}


def sessions() -> list[str]:
    """Return the recorded exec sessions that are played, those during a pod's life too."""
    names = (name for name in files.names() if not name.startswith("api/"))
    return [name for name in names if why_not_played(name) is None and _has_session(name)]


def _has_session(name: str) -> bool:
    recording = Recording(name)
    return recording.reads_late or any(row.get("ev") == "request" for row in recording.rows)


def why_not_played(name: str) -> str | None:
    return next((why for pattern, why in NOT_PLAYED.items() if fnmatchcase(name, pattern)), None)


def is_false(name: str) -> bool:
    """Say whether a recording is one of the known false answers."""
    return any(fnmatchcase(name, pattern) for pattern in FALSE_ANSWERS)


def ways(name: str) -> list[str]:
    """Return how a session is played: the wrapper of a lost command has not written its trailer."""
    told = Recording(name).exit_code is not None and not is_false(name)
    return [RAW, WRAPPED] if told else [RAW]


def expected(name: str, how: str) -> Expected:
    """Return what the user of a played session must see, beside its bytes."""
    recording = Recording(name)
    line = next((line for pattern, line in BROKEN.items() if fnmatchcase(name, pattern)), None)
    if line is not None:
        return Expected(255, line)
    if recording.leaves:
        return Expected(None)
    code = recording.exit_code
    assert code is not None, f"{name} has neither an exit code nor a line in the table"
    return Expected(255, _MISSING) if how == RAW and code == 0 else Expected(code)
