"""An upgrade without an end: a daemon starts its successor, hands over, and keeps its sessions.

The elder and its successor share a pair of sockets. Over it the elder's bastion speaks the messages
of `gateway.protocols.Core` to the successor's core, which alone writes the store by then.
"""
