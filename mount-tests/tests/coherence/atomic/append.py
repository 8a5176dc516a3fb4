"""Several processes append records of many sizes to one file; each record is to be there once, whole and in order."""
import os
import struct

PROCESSES, RECORDS, HEAD = 4, 40, struct.Struct("<BII")


def size(process, record):
    return (record * 7919 + process * 104729) % (9000 if record % 10 else 2_500_000)


def append(process):
    file = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for record in range(RECORDS):
        length = size(process, record)
        data = HEAD.pack(process, record, length) + bytes([process]) * length
        assert os.write(file, data) == len(data)
    os._exit(0)


children = []
for process in range(PROCESSES):
    child = os.fork()
    if child == 0:
        append(process)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
log = open("log", "rb").read()
seen, at = [0] * PROCESSES, 0
while at < len(log):
    process, record, length = HEAD.unpack_from(log, at)
    at += HEAD.size
    assert record == seen[process] and length == size(process, record), (process, record, at)
    assert log[at : at + length] == bytes([process]) * length, (process, record, at)
    seen[process] += 1
    at += length
assert seen == [RECORDS] * PROCESSES, seen
print(len(log))
