#!/usr/bin/env python3
"""Puts a ZFS send stream together that lies in a repository as two files, and needs nothing of datamover:

    restic restore SNAPSHOT --target out
    python3 join-stream.py out/streams/0000-GUID/records out/streams/0000-GUID/blocks | zfs receive tank/files

The rule is in format.md, "Records and blocks".
"""
import os
import sys

HEADER, OBJECT, WRITE, SPILL, WRITE_EMBEDDED = 312, 1, 3, 7, 8


def payload_length(header, order):
    def number(at, size):
        return int.from_bytes(header[at : at + size], order)

    def words(length):
        return (length + 7) // 8 * 8

    if number(4, 4) != 0:
        return number(4, 4)
    return {
        OBJECT: number(36, 4) or words(number(28, 4)),
        WRITE: number(96, 8) if header[50] else number(32, 8),
        SPILL: number(40, 8) or number(16, 8),
        WRITE_EMBEDDED: words(number(52, 4)),
    }.get(number(0, 4), 0)


def copy(source, length):
    while length > 0:
        piece = source.read(min(length, 1 << 20))
        if not piece:
            sys.exit(f"{source.name} ends too early")
        sys.stdout.buffer.write(piece)
        length -= len(piece)


def join(records, blocks):
    order = None
    while header := records.read(HEADER):
        if len(header) < HEADER:
            sys.exit(f"{records.name} ends within a header")
        if order is None:
            order = "little" if header[8:12] == b"\xac\xcb\xba\xf5" else "big"
        sys.stdout.buffer.write(header)
        is_write = int.from_bytes(header[:4], order) == WRITE
        copy(blocks if is_write else records, payload_length(header, order))
    if blocks.read(1):
        sys.exit(f"{blocks.name} has more than the records name")


if len(sys.argv) != 3:
    sys.exit(__doc__)
# A stream without a block has no file for them.
blocks_path = sys.argv[2] if os.path.exists(sys.argv[2]) else os.devnull
with open(sys.argv[1], "rb") as records, open(blocks_path, "rb") as blocks:
    join(records, blocks)
