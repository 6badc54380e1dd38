"""What the daemon may do in a cluster: one table, for its roles and for `kgpud doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Right:
    """Verbs on one resource of the core API group, and what goes wrong without them.

    `resource` may have a subresource, as ``pods/exec``. `everywhere` means the whole cluster
    rather than the namespace of the pods.
    """

    resource: str
    verbs: tuple[str, ...]
    use: str
    everywhere: bool = False


RIGHTS = (
    Right("pods", ("create", "delete", "list", "patch", "watch"), "rentals are pods"),
    # The upgrade is a GET, and since 1.35 Kubernetes asks for both.
    Right("pods/exec", ("create", "get"), "ssh, scp and one-shot commands run through exec"),
    Right("pods/log", ("get",), "users read the log of their pod's first process"),
    # Not get or list, which the daemon has no use for. (Who may make pods can read them in a pod.)
    Right("secrets", ("create", "delete", "patch"), "in-pod tokens reach pods through Secrets"),
    Right("events", ("list",), "an image that is still being pulled gets more time"),
    Right("namespaces", ("get",), "another cluster's lack of pods must not end rentals"),
    Right("nodes", ("list", "watch"), "the menu is what nodes have", everywhere=True),
)
