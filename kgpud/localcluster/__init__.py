"""The embedded default cluster: a small Kubernetes API whose pods are bubblewrap sandboxes.

It stands alone: nothing of ours is imported from outside this package, and everything else
reaches it as it would reach any cluster, by URL and token. Three parts:

- the API server: `server` has every route on one page, `listening` its socket and kubeconfig;
  `access`, `auth`, `rbac` say who may; `kinds` is the table of what is stored, `bodies`, `schema`
  and `rules` read and check it, `storage` and `registry` keep it; `forms`, `tables`, `pages`,
  `watch` and `discovery` tell it; `routes_exec` and `exec_*` run commands;
- the scheduler and the kubelet (`scheduler`, `fleet`, `gpus`; `pod_life`, `container_life`,
  `pulls`, `probes`, `volumes`, `eviction`, `limits`; what they write: `pod_status`, `pod_events`);
- the sandbox (`sandbox`, `bwrap`, `rootfs`, `host_image`, `bare_image`, `cgroups`) and the helper
  process that stands beside each container (`helper`, `boot`, `namespaces`, `spawn`, `wire`).

The helper runs as `python -I -S`, so its modules use the standard library alone.
"""
