"""A process dies in the middle of a transaction that it has begun to write to the database."""

import os
import sqlite3

base = sqlite3.connect("base", isolation_level=None)
base.execute("create table item (n, filling)")
base.executemany("insert into item values (?, ?)", [(n, "x" * 500) for n in range(500)])
base.close()
before = os.path.getsize("base")

child = os.fork()
if child == 0:
    base = sqlite3.connect("base", isolation_level=None)
    base.execute("pragma cache_size = 2")
    base.execute("begin")
    base.execute("update item set n = -1, filling = filling || filling")
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(sorted(os.listdir(".")), os.path.getsize("base") > before)

base = sqlite3.connect("base", isolation_level=None)
print(base.execute("select count(*), sum(n), sum(length(filling)) from item").fetchone())
print(base.execute("pragma integrity_check").fetchone())
base.close()
print(os.listdir("."), os.path.getsize("base") == before)
