"""recvmmsg and sendmmsg on arrays: a batch of messages is one row of `data` each, and one system call.

    batch = message_batch(64, 2048)
    n = recv_batch(sock.fileno(), batch, 0, 64)     # rows 0..n-1 of data, length and peer are filled
    sent = send_batch(sock.fileno(), batch, 0, n)   # echoes them to where they came from

`send_segmented` sends the same packets with less work for the kernel, which then walks its stack once for many of them.

All functions here are compiled, take no interpreter lock, and may be called from other native functions.
"""

from __future__ import annotations

import ctypes
import errno as codes
import socket
import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from esa.native import native
from esa.net.libc import errno, libc_function

_recvmmsg = libc_function("recvmmsg", types.int32, types.int32, types.uintp, types.uint32, types.int32, types.uintp)
_sendmmsg = libc_function("sendmmsg", types.int32, types.int32, types.uintp, types.uint32, types.int32)

# struct mmsghdr as eight 64-bit words; struct iovec as two. True of every 64-bit little-endian Linux.
_NAME, _NAME_LENGTH, _IOVEC, _IOVEC_COUNT, _CONTROL, _CONTROL_LENGTH, _FLAGS, _LENGTH = range(8)
_SOCKADDR_BYTES = 16
# cmsghdr (16 bytes) + struct tpacket_auxdata (20 bytes), rounded up; a cmsghdr with 16 bits of UDP_SEGMENT is shorter.
_CONTROL_WORDS = 5
_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_VLAN_VALID = 0x10
_VLAN_TPID_VALID = 0x40
_ETHERTYPE_VLAN = 0x8100
_VLAN_BYTES = 4
# Linux's numbers (linux/udp.h), which Python's socket module does not name; cmsg_len is without what rounds it up.
_SOL_UDP, _UDP_SEGMENT, _UDP_MAX_SEGMENTS = 17, 103, 64
_SEGMENT_CMSG_BYTES, _SEGMENT_CONTROL_BYTES = 18, 24
_DATAGRAM_BYTES = 65535 - 20 - 8  # at most: IPv4 and UDP count theirs, and it comes apart below them

_DONTWAIT = int(socket.MSG_DONTWAIT)
# As a receive flag it makes the kernel report the real length of a message that did not fit.
_TRUNC = int(socket.MSG_TRUNC)
_EAGAIN, _EINTR, _ENOBUFS = codes.EAGAIN, codes.EINTR, codes.ENOBUFS
_EINVAL, _EIO, _EMSGSIZE = codes.EINVAL, codes.EIO, codes.EMSGSIZE
_AF_INET = int(socket.AF_INET)

TOO_LONG = -1
"""The length that `recv_batch` reports for a message that was longer than a row."""


class MessageBatch(NamedTuple):
    """Room for n messages of up to `mtu` bytes; make one with `message_batch`. Usable inside native code.

    data     uint8 (n, mtu)   a message per row
    length   int32 (n,)       bytes used of the row; TOO_LONG where a received message did not fit
    peer     uint32 (n, 4)    sockaddr_in of the sender or the destination (`set_peer`, `peer_address`, `peer_port`);
                              a row whose first cell is 0 goes to the socket's own peer. (0, 4) in a batch without peers
    The rest belongs to the system calls: headers uint64 (n, 8), iovec uint64 (n, 2), control uint64 (n or 0, 5) to
    send, and such headers and iovec to receive, which are filled for good: a call for few messages costs no more.
    """

    data: npt.NDArray[np.uint8]
    length: npt.NDArray[np.int32]
    peer: npt.NDArray[np.uint32]
    headers: npt.NDArray[np.uint64]
    iovec: npt.NDArray[np.uint64]
    control: npt.NDArray[np.uint64]
    received: npt.NDArray[np.uint64]
    received_iovec: npt.NDArray[np.uint64]


def message_batch(
    n: int,
    mtu: int,
    *,
    peers: bool = True,
    vlan: bool = False,
    segments: bool = False,
    data: npt.NDArray[np.uint8] | None = None,
    length: npt.NDArray[np.int32] | None = None,
) -> MessageBatch:
    """Return an empty batch of n rows of `mtu` bytes.

    peers: keep an address per message (UDP sockets that are not connected); AF_PACKET sockets take a batch without.
    vlan:  put back the 802.1Q tag that the kernel takes off a frame (AF_PACKET sockets from `open_packet_socket`).
    segments: it is for `send_segmented`.
    data, length: existing C-contiguous arrays to use in place of new ones, to receive into or send from without a copy.
    """
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise NotImplementedError("esa.net knows the kernel's structures on 64-bit little-endian Linux only")
    data = np.zeros((n, mtu), np.uint8) if data is None else data
    length = np.zeros(n, np.int32) if length is None else length
    if data.shape != (n, mtu) or data.dtype != np.uint8 or not data.flags.c_contiguous:
        raise ValueError(f"data must be a C-contiguous uint8 ({n}, {mtu}) array, not {data.dtype} {data.shape}")
    if length.shape != (n,) or length.dtype != np.int32 or not length.flags.c_contiguous:
        raise ValueError(f"length must be a C-contiguous int32 ({n},) array, not {length.dtype} {length.shape}")
    peer = np.zeros((n if peers else 0, 4), np.uint32)
    control = np.zeros((n if vlan or segments else 0, _CONTROL_WORDS), np.uint64)
    into, into_iovec = np.zeros((n, 8), np.uint64), np.zeros((n, 2), np.uint64)
    row = np.arange(n, dtype=np.uint64)

    def places(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
        """The address of each row."""
        return np.uint64(array.ctypes.data) + row * np.uint64(array.strides[0])

    into_iovec[:, 0], into_iovec[:, 1] = places(data), mtu
    into[:, _IOVEC], into[:, _IOVEC_COUNT] = places(into_iovec), 1
    if peers:
        into[:, _NAME], into[:, _NAME_LENGTH] = places(peer), _SOCKADDR_BYTES
    if vlan:
        into[:, _CONTROL], into[:, _CONTROL_LENGTH] = places(control), 8 * _CONTROL_WORDS
    return MessageBatch(
        data=data,
        length=length,
        peer=peer,
        headers=np.zeros((n, 8), np.uint64),
        iovec=np.zeros((n, 2), np.uint64),
        control=control,
        received=into,
        received_iovec=into_iovec,
    )


@native
def recv_batch(fd: int, batch: MessageBatch, first: int, count: int) -> int:
    """Receive up to `count` waiting messages into rows first, first+1, ...; never blocks.

    Returns how many (0: none waiting), or the negative errno of a socket in error. A message longer than a row has the
    length TOO_LONG and its row's content is of no use.
    """
    headers, mtu = batch.received, batch.data.shape[1]
    count = min(count, len(batch.data) - first)
    if count <= 0:
        return 0
    received = _recvmmsg(fd, headers.ctypes.data + first * 64, count, _DONTWAIT | _TRUNC, 0)
    if received < 0:
        error = errno()
        return 0 if error in (_EAGAIN, _EINTR) else -error
    for i in range(first, first + received):
        length = int(headers[i, _LENGTH] & np.uint64(0xFFFFFFFF))
        batch.length[i] = length if length <= mtu else TOO_LONG
        if headers[i, _NAME]:
            headers[i, _NAME_LENGTH] = _SOCKADDR_BYTES
        if headers[i, _CONTROL]:
            if headers[i, _CONTROL_LENGTH] > 0:
                _restore_vlan_tag(batch, i)
            headers[i, _CONTROL_LENGTH] = 8 * _CONTROL_WORDS
    return int(received)


@native
def _restore_vlan_tag(batch: MessageBatch, i: int) -> None:
    """Insert the tag that the kernel moved out of frame `i` into its auxiliary data (libpcap does the same)."""
    # int32: mixing unsigned with signed would make Numba compute in floats.
    control = batch.control[i].view(np.int32)
    if control[2] != _SOL_PACKET or control[3] != _PACKET_AUXDATA:
        return
    status = control[4]
    if not status & _VLAN_VALID:
        return
    row, length = batch.data[i], batch.length[i]
    if length == TOO_LONG or length + _VLAN_BYTES > len(row):
        batch.length[i] = TOO_LONG
        return
    for j in range(length - 1, 11, -1):
        row[j + _VLAN_BYTES] = row[j]
    tci = control[8] & 0xFFFF
    tpid = (control[8] >> 16) & 0xFFFF if status & _VLAN_TPID_VALID else _ETHERTYPE_VLAN
    row[12] = tpid >> 8
    row[13] = tpid & 0xFF
    row[14] = tci >> 8
    row[15] = tci & 0xFF
    batch.length[i] = length + _VLAN_BYTES


@native
def _fill_send_header(batch: MessageBatch, i: int, row: int, part: int, parts: int) -> None:
    """Message i goes to the peer of a row, and is what `parts` parts from `part` on say."""
    batch.headers[i, _IOVEC] = batch.iovec.ctypes.data + part * 16
    batch.headers[i, _IOVEC_COUNT] = parts
    batch.headers[i, _CONTROL] = 0
    batch.headers[i, _CONTROL_LENGTH] = 0
    if len(batch.peer) and batch.peer[row, 0]:
        batch.headers[i, _NAME] = batch.peer.ctypes.data + row * _SOCKADDR_BYTES
        batch.headers[i, _NAME_LENGTH] = _SOCKADDR_BYTES
    else:
        batch.headers[i, _NAME] = 0
        batch.headers[i, _NAME_LENGTH] = 0


@native
def _fill_part(batch: MessageBatch, part: int, row: int) -> None:
    batch.iovec[part, 0] = batch.data.ctypes.data + row * batch.data.shape[1]
    batch.iovec[part, 1] = batch.length[row]


@native
def _send_headers(fd: int, batch: MessageBatch, first: int, count: int) -> int:
    done = 0
    while done < count:
        # The kernel stops at the first message that fails and tells its error only if it is the first of a call.
        sent = _sendmmsg(fd, batch.headers.ctypes.data + (first + done) * 64, count - done, _DONTWAIT)
        if sent < 0:
            error = errno()
            if error == _EINTR:
                continue
            if done > 0 or error in (_EAGAIN, _ENOBUFS):
                break
            return -error
        done += sent
    return done


@native
def send_batch(fd: int, batch: MessageBatch, first: int, count: int) -> int:
    """Send rows first .. first+count-1; never blocks.

    Returns how many were sent: fewer than `count` when the socket's or the interface's queue is full (0: try later), or
    when a later message is in error. The negative errno where the first message is refused (say -EMSGSIZE).
    """
    for i in range(first, first + count):
        _fill_part(batch, i, i)
        _fill_send_header(batch, i, i, i, 1)
    return _send_headers(fd, batch, first, count)


@native
def send_rows(fd: int, batch: MessageBatch, rows: npt.NDArray[np.int32], first: int, count: int) -> int:
    """Send rows[first], ..., rows[first+count-1] of the batch in that order; returns what `send_batch` does.

    count is at most the batch's n; a row may occur more than once.
    """
    for i in range(count):
        _fill_part(batch, i, rows[first + i])
        _fill_send_header(batch, i, rows[first + i], i, 1)
    return _send_headers(fd, batch, 0, count)


@native
def send_segmented(fd: int, batch: MessageBatch, first: int, count: int) -> int:
    """As `send_batch`, on a UDP socket and of a batch with `segments`: fewer, longer messages for the same packets.

    Rows that follow one another, are equally long and go to one peer are handed over as one message, which the kernel
    takes apart before the interface (UDP_SEGMENT, Linux 4.18). Where it will not, say for packets longer than the MTU,
    they are sent one by one.
    """
    messages, row = 0, first
    while row < first + count:
        rows = _alike(batch, row, first + count)
        message = first + messages
        for i in range(row, row + rows):
            _fill_part(batch, i, i)
        _fill_send_header(batch, message, row, row, rows)
        if rows > 1:
            batch.control[message, 0] = _SEGMENT_CMSG_BYTES
            batch.control[message, 1] = _SOL_UDP | _UDP_SEGMENT << 32
            batch.control[message, 2] = batch.length[row]
            batch.headers[message, _CONTROL] = batch.control.ctypes.data + message * (8 * _CONTROL_WORDS)
            batch.headers[message, _CONTROL_LENGTH] = _SEGMENT_CONTROL_BYTES
        messages += 1
        row += rows
    sent = _send_headers(fd, batch, first, messages)
    rows = int(batch.headers[first, _IOVEC_COUNT])
    if rows > 1 and -sent in (_EINVAL, _EIO, _EMSGSIZE):
        return int(send_batch(fd, batch, first, rows))
    if sent < 0:
        return int(sent)
    done = 0
    for message in range(first, first + sent):
        done += int(batch.headers[message, _IOVEC_COUNT])
    return done


@native
def _alike(batch: MessageBatch, row: int, end: int) -> int:
    """Return how many rows from `row` on, before `end`, may leave as one message: one at least."""
    length = batch.length[row]
    if length <= 0:
        return 1
    most = min(end - row, _UDP_MAX_SEGMENTS, max(_DATAGRAM_BYTES // length, 1))
    count = 1
    while count < most and batch.length[row + count] == length and _same_peer(batch, row, row + count):
        count += 1
    return int(count)


@native
def _same_peer(batch: MessageBatch, row: int, other: int) -> bool:
    return len(batch.peer) == 0 or (
        batch.peer[row, 0] == batch.peer[other, 0] and batch.peer[row, 1] == batch.peer[other, 1]
    )


@native
def _swap16(value: int) -> int:
    return ((value & 0xFF) << 8) | ((value >> 8) & 0xFF)


@native
def _swap32(value: int) -> int:
    return (_swap16(value & 0xFFFF) << 16) | _swap16((value >> 16) & 0xFFFF)


@native
def set_peer(batch: MessageBatch, i: int, address: int, port: int) -> None:
    """Set message `i`'s destination: IPv4 address and UDP port as host integers (10.0.0.1 is 0x0A000001)."""
    batch.peer[i, 0] = _AF_INET | (_swap16(port) << 16)
    batch.peer[i, 1] = _swap32(address)
    batch.peer[i, 2] = 0
    batch.peer[i, 3] = 0


@native
def peer_address(batch: MessageBatch, i: int) -> int:
    """Return message `i`'s IPv4 address as a host integer."""
    return _swap32(int(batch.peer[i, 1]))


@native
def peer_port(batch: MessageBatch, i: int) -> int:
    """Return message `i`'s UDP port as a host integer."""
    return _swap16(int(batch.peer[i, 0]) >> 16)
