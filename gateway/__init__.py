"""From an SSH key to a process in a pod: the bastion and the exec engine, usable without the rest.

`bastion` listens and decides who may come in; `session` is one SSH channel; `exec` is one command
in a pod over the Kubernetes exec websocket (`websocket`, `frames`), run under `wrapper`.
What it needs of the platform around it stands in `protocols`.
"""
