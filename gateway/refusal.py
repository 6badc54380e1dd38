"""What a user is told when the cluster did not run a command. Pure: answers in, sentences out."""

from gateway import frames

_DENIED, _NOT_FOUND = (401, 403), 404
POD_GONE = "the pod is gone"
NOT_RUNNING = "the pod's container is not running"
NO_SH = "the image has no sh, so no command can run in it"
# A sentence, not a proxy's error page.
_LONGEST = 400


def explain_refusal(status: int, body: str) -> str:
    """Explain an answer that was no upgrade: its HTTP status (0 for no answer) and its body."""
    if status == _NOT_FOUND:
        return POD_GONE
    if status in _DENIED:
        return "the cluster refused the exec: the operator should run `kgpud doctor`"
    return explain(_message_in(body) or f"HTTP {status}")


def explain(message: str) -> str:
    """Explain what the runtime said when no process came of the command."""
    if "container not found" in message:
        return NOT_RUNNING
    # runc's words and crun's; a runtime that can't be dialled misses its socket, not the sh, and
    # where a command is to start may have been removed.
    missing = "not found in $PATH" in message or "no such file or directory" in message
    if missing and "dial " not in message and "chdir to cwd" not in message:
        return NO_SH
    return f"the cluster could not run the command: {_one_line(message)}"


def _message_in(body: str) -> str:
    """Return the message where a refusal's body is a Status document, else its plain text."""
    try:
        return frames.parse_status(body.encode()).message
    except ValueError:
        return "" if body.lstrip().startswith("<") else body


def _one_line(text: str) -> str:
    """Leave out what could play tricks on a terminal, and what nobody would read."""
    words = "".join(one if one.isprintable() else " " for one in text).split()
    line = " ".join(words)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
