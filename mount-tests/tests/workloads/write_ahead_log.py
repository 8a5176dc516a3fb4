"""Processes share a database in WAL mode. Each reader must see whole transactions only."""

import multiprocessing
import os
import sqlite3

WRITERS = 3
TRANSACTIONS = 40


def connect():
    return sqlite3.connect("base", timeout=60, isolation_level=None)


def value(base, query):
    (found,) = base.execute(query).fetchone()
    return found


def write(writer):
    base = connect()
    for number in range(TRANSACTIONS):
        base.execute("begin immediate")
        base.execute("insert into item values (?, ?, ?)", (writer, number, "x" * 1000))
        base.execute("update total set n = n + 1")
        base.execute("commit" if number % 5 else "rollback")


def read():
    base = connect()
    for _ in range(100):
        base.execute("begin")
        total = value(base, "select n from total")
        items = value(base, "select count(*) from item")
        base.execute("commit")
        assert items == total, f"{items} items where {total} were counted"


base = connect()
print(value(base, "pragma journal_mode = wal"))
base.execute("create table item (writer, number, filling, primary key (writer, number))")
base.execute("create table total as select 0 as n")
base.close()

workers = [multiprocessing.Process(target=write, args=(n,)) for n in range(WRITERS)]
workers += [multiprocessing.Process(target=read) for _ in range(2)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
    assert worker.exitcode == 0, worker

base, other = connect(), connect()
print(value(base, "select n from total"), value(other, "select count(*) from item"))
base.execute("update total set n = n")
print(os.path.getsize("base-wal") > 0, sorted(os.listdir(".")))
print(base.execute("pragma wal_checkpoint(truncate)").fetchone(), os.path.getsize("base-wal"))
print(value(other, "pragma integrity_check"))
other.close()
print(value(base, "pragma journal_mode = delete"))
base.execute("delete from item where number % 2")
base.execute("vacuum")
print(value(base, "pragma integrity_check"))
base.close()
print(os.listdir("."))
