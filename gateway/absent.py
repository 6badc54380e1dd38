"""What is said where an image lacks the program that a client's own half wants to talk to."""

_RSYNC = b"rsync --server "
_SAID = (
    b"kgpud: this image has no rsync; install it in the pod "
    b"(apt-get install rsync, or apk add rsync), or use scp -r"
)


def explained(command: bytes) -> bytes:
    """Return a command, with one line before it that ends an rsync without its other half.

    The line is understood by every shell that a user may have, fish included.
    """
    if not command.startswith(_RSYNC):
        return command
    return b"command -v rsync >/dev/null || exec sh -c 'echo \"%s\" >&2; exit 127'\n%s" % (
        _SAID,
        command,
    )
