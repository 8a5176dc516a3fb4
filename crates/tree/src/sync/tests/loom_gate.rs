//! Stories of the gate.

use super::super::gate::{Gate, Seat};
use super::{Body, explore};
use loom::sync::Arc;
use loom::thread;

struct Hall {
    gate: Gate,
    seats: [Seat; 2],
    bodies: [Body; 2],
}

impl Hall {
    fn new() -> Arc<Hall> {
        Arc::new(Hall {
            gate: Gate::new(),
            seats: Default::default(),
            bodies: [Body::new(0), Body::new(0)],
        })
    }

    /// Works on what is its own, if it may.
    fn work(&self, number: usize) {
        let (seat, body) = (&self.seats[number], &self.bodies[number]);
        if seat.wake(&self.gate) {
            body.write(body.read() + 1);
            body.write(body.read() + 1);
            seat.rest();
        }
    }
}

/// Loom reports whoever touches a body unordered: at a closed gate nobody is at work, and what was begun was done whole.
#[test]
fn who_finds_all_at_rest_is_alone() {
    explore("gate: two at work, one closes it", Some(3), || {
        let hall = Hall::new();
        let threads = [0, 1].map(|number| {
            let hall = Arc::clone(&hall);
            thread::spawn(move || hall.work(number))
        });
        hall.gate.close();
        if hall.seats.iter().all(Seat::is_at_rest) {
            assert!(hall.bodies.iter().all(|body| body.read() % 2 == 0));
        }
        hall.gate.open();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// What was done behind a closed gate is there for whoever finds it open.
#[test]
fn who_wakes_sees_what_was_done_meanwhile() {
    explore("gate: one at work twice, one closes it", None, || {
        let hall = Hall::new();
        let other = {
            let hall = Arc::clone(&hall);
            thread::spawn(move || {
                hall.work(0);
                hall.work(0);
            })
        };
        hall.gate.close();
        if hall.seats[0].is_at_rest() {
            let body = &hall.bodies[0];
            body.write(body.read() + 2);
        }
        hall.gate.open();
        other.join().unwrap();
        assert_eq!(hall.bodies[0].read() % 2, 0);
    });
}
