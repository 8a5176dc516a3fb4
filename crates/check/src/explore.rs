//! An exhaustive search of a small model's states.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;

/// A model whose threads take one atomic step at a time.
pub trait Model {
    /// Everything that a run changes.
    type State: Clone + Eq + Hash + Debug;

    /// Every state one step of one thread leads to. Empty when all threads are done.
    fn successors(&self, state: &Self::State) -> Vec<Self::State>;

    /// What is wrong with this state, if anything.
    fn violation(&self, state: &Self::State) -> Option<&'static str>;

    /// Whether every thread has finished: a state without successors must have.
    fn finished(&self, state: &Self::State) -> bool;
}

/// What a search found.
pub struct Explored<S> {
    /// How many distinct states were reached before the search ended.
    pub states: usize,
    /// The first violation, with the shortest run that leads to it.
    pub violation: Option<(&'static str, Vec<Rc<S>>)>,
}

impl<S: Debug> Explored<S> {
    /// Panics with the run if there is a violation.
    pub fn assert_correct(&self, case: &str) {
        if let Some((what, run)) = &self.violation {
            let run: Vec<String> = run.iter().map(|state| format!("{state:?}")).collect();
            panic!("{case}: {what}, {} states\n{}", self.states, run.join("\n"));
        }
        println!("{case}: {} states, correct", self.states);
    }

    /// Panics if the search did not find `expected`: the search itself is under test.
    pub fn assert_wrong(&self, case: &str, expected: &str) {
        let Some((what, run)) = &self.violation else {
            panic!("{case}: {} states and no violation found", self.states);
        };
        assert_eq!(*what, expected, "{case}");
        let steps = run.len() - 1;
        println!("{case}: {what} after {steps} steps, {} states", self.states);
    }
}

/// Visits every reachable state breadth first, until one is in violation.
pub fn explore<M: Model>(model: &M, initial: M::State) -> Explored<M::State> {
    let initial = Rc::new(initial);
    let mut seen = HashSet::from([Rc::clone(&initial)]);
    let mut visited = vec![(initial, 0_usize)];
    let mut next = 0;
    while next < visited.len() {
        let state = Rc::clone(&visited[next].0);
        let successors = model.successors(&state);
        let stuck = successors.is_empty() && !model.finished(&state);
        if let Some(what) = model.violation(&state).or(stuck.then_some("deadlock")) {
            return Explored {
                states: visited.len(),
                violation: Some((what, run_to(&visited, next))),
            };
        }
        for successor in successors {
            if !seen.contains(&successor) {
                let successor = Rc::new(successor);
                seen.insert(Rc::clone(&successor));
                visited.push((successor, next));
            }
        }
        next += 1;
    }
    Explored {
        states: visited.len(),
        violation: None,
    }
}

fn run_to<S>(visited: &[(Rc<S>, usize)], mut at: usize) -> Vec<Rc<S>> {
    let mut run = vec![Rc::clone(&visited[at].0)];
    while at != 0 {
        at = visited[at].1;
        run.push(Rc::clone(&visited[at].0));
    }
    run.reverse();
    run
}
