"""Tries to bind the directory named once more with other owners (an idmapped mount), and prints the error's name."""
import ctypes
import errno
import os
import subprocess
import sys

OPEN_TREE, MOUNT_SETATTR = 428, 442
OPEN_TREE_CLONE, AT_EMPTY_PATH, MOUNT_ATTR_IDMAP = 1, 0x1000, 0x100000


class Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


libc = ctypes.CDLL(None, use_errno=True)
script = "echo ready; read done"
other = subprocess.Popen(["unshare", "-U", "--map-root-user", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
other.stdout.readline()
userns = os.open(f"/proc/{other.pid}/ns/user", os.O_RDONLY)
tree = libc.syscall(OPEN_TREE, -100, sys.argv[1].encode(), OPEN_TREE_CLONE)
assert tree >= 0, os.strerror(ctypes.get_errno())
attributes = Attributes(MOUNT_ATTR_IDMAP, 0, 0, userns)
size = ctypes.sizeof(attributes)
failed = libc.syscall(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(attributes), size)
print(errno.errorcode[ctypes.get_errno()] if failed else "mapped")
other.communicate()
