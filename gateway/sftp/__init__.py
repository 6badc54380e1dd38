"""SFTP: the image's own sftp-server byte for byte, or in its absence one of ours.

- `subsystem`: one session; what `gateway.serving` starts. The only module with I/O.
- `engine`: the server of ours: requests in, lines for the agent out; `operations`, `jobs`,
  `handles`, `listing` are its parts.
- `agent.sh`, `agent`: a POSIX shell in the pod that works on those lines, and the talk with it.
- `packets`, `fields`, `attributes`: the wire format.
"""
