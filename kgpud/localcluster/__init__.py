"""The embedded default cluster: a small Kubernetes API whose pods are bubblewrap sandboxes.

It stands alone: nothing of ours is imported from outside this package, and everything else
reaches it as it would reach any cluster, by URL and token. Three parts:

- the API server (`server`, `routes_*`, `registry`, `watch`, `exec_*`);
- the kubelet and scheduler (`kubelet`, `pod_life`, `scheduler`, `fleet`, `pod_status`);
- the sandbox (`sandbox`, `rootfs`, `host_image`, `bare_image`) and the helper process that
  stands beside each pod (`helper`, `namespaces`, `spawn`, `syscalls`, `wire`).

The helper runs as `python -I -S`, so its modules use the standard library alone.
"""
