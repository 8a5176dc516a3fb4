"""One process writes a range in turn with one letter and with another; another reads it through the cache. It sees bytes
of these calls and no others, and what it reads after the last call is that call's. Argument: bytes of a call."""
import os
import sys

SIZE = int(sys.argv[1])
writer = os.open("file", os.O_RDWR | os.O_CREAT, 0o600)
reader = os.open("file", os.O_RDONLY)
assert os.pwrite(writer, b"a" * SIZE, 0) == SIZE
child = os.fork()
if child == 0:
    for turn in range(200):
        assert os.pwrite(writer, b"ba"[turn % 2 : turn % 2 + 1] * SIZE, 0) == SIZE
    os._exit(0)
while os.waitpid(child, os.WNOHANG)[0] == 0:
    found = os.pread(reader, SIZE, 0)
    assert len(found) == SIZE and set(found) <= set(b"ab"), "bytes that nobody wrote"
assert os.pread(reader, SIZE, 0) == b"a" * SIZE
