//! Stories of the table that is probed while it changes.

use super::super::primitive::Guard;
use super::super::{Retired, Table};
use super::{Body, explore};
use loom::sync::Arc;
use loom::thread;

fn found(table: &Table, hash: u32, value: u32) -> bool {
    table.groups(&Guard).values(hash).any(|seen| seen == value)
}

/// A table with room for two groups of cells, all of the names below on one probe path.
fn table(values: &[u32]) -> Arc<Table> {
    let table = Table::default();
    drop(table.rebuild(3, &Guard).unwrap());
    for value in values {
        table.insert(0, *value, &Guard);
    }
    Arc::new(table)
}

/// Runs `write` beside a reader that must find value 1 twice. Arrays taken out of use live on until
/// the reader is done, as the epoch would have it.
fn stays_found(name: &str, values: &'static [u32], write: fn(&Table) -> Vec<Retired>) {
    explore(name, None, move || {
        let table = table(values);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || write(&table))
        };
        assert!(
            found(&table, 0, 1),
            "missed a name that was there all along"
        );
        assert!(
            found(&table, 0, 1),
            "missed a name that was there all along"
        );
        drop(writer.join().unwrap());
        assert!(found(&table, 0, 1));
    });
}

#[test]
fn growth_loses_no_name() {
    stays_found("table: growth beside lookup", &[2, 1], |table| {
        let retired = table.rebuild(6, &Guard).unwrap();
        table.insert(0, 3, &Guard);
        vec![retired]
    });
}

#[test]
fn growth_twice_loses_no_name() {
    stays_found("table: growth twice beside lookup", &[1], |table| {
        [6, 12]
            .map(|want| table.rebuild(want, &Guard).unwrap())
            .into()
    });
}

#[test]
fn a_probe_goes_on_past_what_comes_and_goes() {
    stays_found(
        "table: remove and insert before the name",
        &[2, 1],
        |table| {
            assert!(table.remove(0, 2, &Guard));
            assert!(table.insert(0, 3, &Guard), "takes the tomb");
            vec![]
        },
    );
}

#[test]
fn dropping_tombs_loses_no_name() {
    stays_found("table: remove, rebuild, insert", &[2, 1], |table| {
        assert!(table.remove(0, 2, &Guard));
        let retired = table.rebuild(3, &Guard).unwrap();
        table.insert(0, 3, &Guard);
        vec![retired]
    });
}

/// The object behind a value is complete for whoever finds the value, also in a new array.
#[test]
fn what_is_found_is_complete() {
    explore(
        "table: object published by insert and rebuild",
        None,
        || {
            let shared = Arc::new((Table::default(), Body::new(0)));
            drop(shared.0.rebuild(1, &Guard).unwrap());
            let writer = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.write(9);
                    shared.0.insert(0, 1, &Guard);
                    shared.0.rebuild(6, &Guard).unwrap()
                })
            };
            if found(&shared.0, 0, 1) {
                assert_eq!(shared.1.read(), 9);
            }
            drop(writer.join().unwrap());
        },
    );
}
