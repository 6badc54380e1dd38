"""What is said where an image lacks the program that a client's own half wants to talk to."""

# How a client asks for its other half, and what is said without one, in double quotes of sh.
_HALVES = (
    (
        (b"rsync --server ",),
        b"rsync; install it in the pod (apt-get install rsync, or apk add rsync), or use scp -r",
    ),
    (
        (b"git-upload-pack ", b"git-receive-pack ", b"git-upload-archive "),
        b"git; install it in the pod (apt-get install git, or apk add git)",
    ),
)


def explained(command: bytes) -> bytes:
    """Return a command, with one line before it that ends an rsync or git without its other half.

    The line is understood by every shell that a user may have, fish included.
    """
    for beginnings, needs in _HALVES:
        if command.startswith(beginnings):
            program = command.partition(b" ")[0]
            return (
                b"command -v %s >/dev/null || exec sh -c "
                b"'echo \"kgpud: this image has no %s\" >&2; exit 127'\n%s"
            ) % (program, needs, command)
    return command
