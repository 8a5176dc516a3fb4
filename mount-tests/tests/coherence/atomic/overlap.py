"""Several processes write ranges that overlap, at once; what is left is what some order of the calls leaves.

Arguments: bytes of a call, by how much each range lies behind the one before it, and "direct" to write past the cache."""
import itertools
import mmap
import multiprocessing
import os
import signal
import sys

SIZE, SHIFT = int(sys.argv[1]), int(sys.argv[2])
FLAGS = os.O_RDWR | os.O_CREAT | (os.O_DIRECT if "direct" in sys.argv else 0)
WRITERS, ROUNDS = 3, 20
barrier = multiprocessing.get_context("fork").Barrier(WRITERS + 1)


def write(writer):
    file = os.open("file", FLAGS, 0o600)
    data = mmap.mmap(-1, SIZE)
    data[:] = bytes([ord("a") + writer]) * SIZE
    for _ in range(ROUNDS):
        barrier.wait()
        assert os.pwritev(file, [data], writer * SHIFT) == SIZE
        barrier.wait()
    os._exit(0)


def left_by(order):
    content = bytearray(SIZE + SHIFT * (WRITERS - 1))
    for writer in order:
        content[writer * SHIFT : writer * SHIFT + SIZE] = bytes([ord("a") + writer]) * SIZE
    return bytes(content)


possible = {left_by(order) for order in itertools.permutations(range(WRITERS))}
children = []
for writer in range(WRITERS):
    child = os.fork()
    if child == 0:
        write(writer)
    children.append(child)
try:
    for number in range(ROUNDS):
        barrier.wait()
        barrier.wait()
        file = os.open("file", os.O_RDONLY)
        content = os.pread(file, SIZE * WRITERS, 0)
        os.close(file)
        assert content in possible, f"round {number}: calls were mixed"
except BaseException:
    for child in children:
        os.kill(child, signal.SIGKILL)
    raise
for child in children:
    assert os.waitpid(child, 0)[1] == 0
