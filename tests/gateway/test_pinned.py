"""The parts of asyncssh that the data path leans on are there, and behave as it counts on.

If this fails after an update of asyncssh, read what changed before anything else: the version is
pinned exactly in pyproject.toml, and the modules named here say what they lean on.
"""

import importlib.metadata
import inspect
from pathlib import Path

import asyncssh
import pytest
from asyncssh.connection import SSHConnection, SSHServerConnection
from asyncssh.encryption import GCMEncryption
from asyncssh.packet import SSHPacketLogger

from gateway import channel, cipher, connection, fastpath, flow, outflow

from .through import cat, through

CONNECTION = (
    "_inpbuf _packet _pktlen _recv_handler _recv_pkthdr _recv_packet _recv_data "
    "_finish_recv_packet _recv_seq _recv_blocksize _recv_macsize _recv_encryption "
    "_next_recv_encryption _max_recv_pktlen _decompressor _compressor _kex _kex_complete "
    "_kexinit_sent _auth_complete _deferred_packets _channels _send _send_seq "
    "_send_encryption _send_kexinit send_newkeys _rekey_bytes _rekey_bytes_sent "
    "_rekey_seconds _rekey_time _transport _cleanup _force_close _send_disconnect _session_id "
    "_auth_final _auth_in_progress _client_version _enc_algs _report_global_response "
    "_global_request_queue _process_tcpip_forward_global_request "
    "_process_streamlocal_forward_at_openssh_dot_com_global_request "
    "_process_hostkeys_prove_00_at_openssh_dot_com_global_request _all_server_host_keys "
)

CHANNEL = (
    "_conn _session _send_buf _send_buf_len _send_window _send_pktsize _send_state _send_chan "
    "_send_paused _recv_buf _recv_window _recv_state _recv_paused _accept_data _deliver_data "
    "_flush_recv_buf _flush_send_buf _pause_resume_writing _start_session _send_request "
    "_report_response _process_exec_request _process_env_request _process_x11_req_request "
    "_discard_recv _packet_handlers "
    "_process_auth_agent_req_at_openssh_dot_com_request "
)

# What is overridden must be asyncssh's still, or nobody calls it.
OVERRIDDEN = {
    fastpath.FastPath: ["_recv_pkthdr", "_finish_recv_packet"],
    outflow.Outflow: [
        *("_send", "_force_close", "_send_kexinit", "send_newkeys", "_cleanup", "send_packet")
    ],
    flow.Flow: [
        *("_accept_data", "_deliver_data", "_flush_send_buf", "_process_close"),
        *("resume_reading", "write"),
    ],
    channel.Channel: ["_process_exec_request", "_process_env_request"],
    connection.Connection: ["_send_kexinit", "remove_channel", "internal_error"],
}


def test_the_version_is_the_one_that_was_read() -> None:
    assert importlib.metadata.version("asyncssh") == "2.24.1"


async def test_what_is_leaned_on_is_there(tmp_path: Path) -> None:
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        del client
        missing = [name for name in CONNECTION.split() if not hasattr(bench.connection, name)]
        missing += [name for name in CHANNEL.split() if not hasattr(bench.channel, name)]
        assert not missing


@pytest.mark.parametrize("ours", OVERRIDDEN, ids=lambda ours: ours.__name__)
def test_what_is_overridden_is_asyncssh_s_and_takes_the_same(ours: type) -> None:
    base = asyncssh.SSHServerChannel if issubclass(ours, flow.Flow) else SSHServerConnection
    for name in OVERRIDDEN[ours]:
        theirs = inspect.signature(getattr(base, name))
        mine = inspect.signature(vars(ours)[name])
        assert list(mine.parameters) == list(theirs.parameters), name


def test_the_cipher_has_the_parts_that_ours_takes_over() -> None:
    theirs = GCMEncryption.new("aes128-gcm", bytes(16), bytes(range(12)))
    theirs.encrypt_packet(0, b"\0\0\0\x10", bytes(16))
    ours = cipher.Gcm.instead_of(theirs)
    assert isinstance(ours, cipher.Gcm)
    packet = b"\0\0\0\x10", bytes(range(16))
    assert ours.encrypt_packet(1, *packet) == theirs.encrypt_packet(1, *packet)


def test_the_counter_of_packets_goes_round_and_leaves_the_fixed_part_alone() -> None:
    nonce = b"\1\2\3\4" + b"\xff" * 8
    theirs = GCMEncryption.new("aes256-gcm", bytes(32), nonce)
    ours = cipher.Gcm(bytes(32), nonce)
    out = memoryview(bytearray(200))
    body = bytes(range(32))
    end = ours.seal_into(out, 0, [body, body, body])
    length = (32).to_bytes(4, "big")
    expected = b"".join(b"".join(theirs.encrypt_packet(0, length, body)) for _ in range(3))
    assert bytes(out[:end]) == expected


def test_asyncssh_s_packet_counters_go_round_at_32_bits() -> None:
    source = inspect.getsource(SSHConnection.send_packet)
    assert "self._send_seq = (seq + 1) & 0xffffffff" in source
    assert issubclass(SSHConnection, SSHPacketLogger)
