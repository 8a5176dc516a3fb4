"""One process writes a range again and again, in turn with one letter and with another; another reads it past the cache
and sees each call as a whole. Arguments: bytes of a call, and "direct" to write past the cache as well."""
import mmap
import os
import sys

SIZE = int(sys.argv[1])
FLAGS = os.O_RDWR | os.O_CREAT
buffers = [mmap.mmap(-1, SIZE) for _ in range(2)]
for buffer, letter in zip(buffers, b"ab"):
    buffer[:] = bytes([letter]) * SIZE
letters = [bytes(buffer) for buffer in buffers]
writer = os.open("file", FLAGS | (os.O_DIRECT if "direct" in sys.argv else 0), 0o600)
assert os.pwritev(writer, [buffers[0]], 0) == SIZE
reader = os.open("file", os.O_RDONLY | os.O_DIRECT)
child = os.fork()
if child == 0:
    for turn in range(300):
        assert os.pwritev(writer, [buffers[turn % 2]], 0) == SIZE
    os._exit(0)
found = mmap.mmap(-1, SIZE)
while os.waitpid(child, os.WNOHANG)[0] == 0:
    assert os.preadv(reader, [found], 0) == SIZE
    assert found[:] in letters, "part of a call"
