//! Looking, and what comes of it.

use super::Figures;
use super::dirty::{Dirty, Place};
use super::watches::Watches;
use crate::fs::{Following, Fs, Look, Name};
use crate::source::{LiveDirectory, Looker, Seen, Spot};
use crate::transport::Teller;
use crate::tree::{Kind, NodeId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Names that are compared at once, and directories that are open meanwhile.
const NAMES: usize = 2048;
const DIRECTORIES: usize = 64;

/// How often a directory is looked for that is not where it was.
const TRIES: u32 = 4;

/// How often it is looked again at what could not be as it was seen, because much is moved.
const ROUNDS: u32 = 32;

/// What was moved is told of by two events: how long the second may take.
const BETWEEN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// Does the work of following, in one thread.
pub(super) struct Worker<'a> {
    fs: &'a Fs,
    looker: Looker,
    watches: &'a Watches,
    teller: &'a Teller,
    dirty: Dirty,
    /// What was not where it was to be: what else there is to be seen may say where it is.
    later: Vec<(NodeId, Place)>,
    /// What was nowhere: looked for again whenever something is looked at.
    missing: Vec<(NodeId, Place)>,
    /// Some directory is where it was not before.
    moved: bool,
    /// Names of files that have lost another one.
    linked: HashSet<Name>,
}

/// What was seen in some directories.
#[derive(Default)]
struct Batch {
    directories: Vec<(NodeId, LiveDirectory)>,
    looks: Vec<Look>,
    /// Of each look the number of its directory, and what was seen.
    seen: Vec<(usize, CString, Option<Seen>)>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        fs: &'a Fs,
        looker: Looker,
        watches: &'a Watches,
        teller: &'a Teller,
    ) -> Worker<'a> {
        Worker {
            fs,
            looker,
            watches,
            teller,
            dirty: Dirty::default(),
            later: Vec::new(),
            missing: Vec::new(),
            moved: false,
            linked: HashSet::new(),
        }
    }

    /// Reads what events there are.
    pub(super) fn read(&mut self, figures: &Figures) {
        let heard = self.watches.read(&mut self.dirty);
        if heard.lost {
            if figures.rescans.fetch_add(1, Relaxed) == 0 {
                tracing::warn!(
                    "more changed in the source than was told (fs.inotify.max_queued_events): all of it is looked at again"
                );
            }
            self.mark_blind(true);
        }
        if heard.ended && !figures.lost.swap(true, Relaxed) {
            tracing::warn!("the source is there no more: the mount stays as it is");
        }
    }

    /// Has all directories looked at, or those without a watch.
    pub(super) fn mark_blind(&mut self, all: bool) {
        for node in self.watches.directories(!all) {
            self.dirty.all(node);
        }
    }

    /// Has `node` and all below it looked at, or the name in it.
    pub(super) fn mark_below(&mut self, node: NodeId, name: Option<&[u8]>) {
        if let Some(name) = name {
            return self.dirty.name(node, name, true);
        }
        let mut directories = vec![node];
        while let Some(directory) = directories.pop() {
            self.dirty.all(directory);
            let survey = self.fs.tree().survey();
            survey.names_in(directory, |_, id, loaded| {
                if loaded && self.watches.spot(id).is_some() {
                    directories.push(id);
                }
            });
        }
    }

    /// Looks at everything that is dirty. False if somebody is writing to the source what differs in the mount: he says himself what
    /// he wrote, and then there is no difference.
    pub(super) fn work(&mut self, figures: &Figures, over: &AtomicBool) -> bool {
        self.look_for_missing();
        if self.dirty.is_empty() {
            return true;
        }
        let live = self.looker.live().clone();
        let Some(_quiet) = live.keep_quiet() else {
            return false;
        };
        let mut following = self.fs.follow();
        let (mut waited, mut rounds) = (false, 0);
        while !over.load(Relaxed) {
            while let Some(batch) = self.look(&following, figures) {
                self.settle(&mut following, batch);
                self.tell(&mut following);
                for (directory, name) in following.untaken() {
                    match rounds < ROUNDS {
                        true => self.dirty.name(directory, &name, false),
                        false => self.missing.push((directory, Place::of(name))),
                    }
                }
                rounds += 1;
            }
            if !waited && following.has_lost_names() {
                waited = true;
                let events = self.watches.events();
                let mut more = [PollFd::new(&events, PollFlags::IN)];
                if poll(&mut more, Some(&BETWEEN)).is_ok_and(|ready| ready > 0) {
                    self.read(figures);
                }
            } else {
                while !following.finish() {
                    self.tell(&mut following);
                }
                self.tell(&mut following);
                for (directory, name) in following.other_names() {
                    self.dirty.name(directory, &name, false);
                    self.linked.insert((directory, name));
                }
            }
            if std::mem::take(&mut self.moved) && rounds < ROUNDS {
                self.look_for_missing();
            }
            if self.dirty.is_empty() && !following.has_lost_names() {
                break;
            }
        }
        while !following.finish() {}
        self.tell(&mut following);
        true
    }

    fn look_for_missing(&mut self) {
        for (node, place) in self.missing.drain(..) {
            self.dirty.again(node, Place { tries: 0, ..place });
        }
    }

    fn tell(&self, following: &mut Following<'_>) {
        following.news().deliver(|stale| self.teller.tell(&stale));
    }

    /// What there is to be seen in the next directories; `None` if there are none.
    fn look(&mut self, following: &Following<'_>, figures: &Figures) -> Option<Batch> {
        let mut batch = Batch::default();
        while batch.looks.len() < NAMES && batch.directories.len() < DIRECTORIES {
            let Some((node, place)) = self.dirty.next() else {
                break;
            };
            self.look_in(following, &mut batch, node, place);
        }
        let names = batch.looks.len() as u64;
        figures.looks.fetch_add(names, Relaxed);
        let some = !batch.directories.is_empty() || !self.later.is_empty();
        for (node, place) in self.later.drain(..) {
            self.dirty.again(node, place);
        }
        some.then_some(batch)
    }

    fn look_in(
        &mut self,
        following: &Following<'_>,
        batch: &mut Batch,
        node: NodeId,
        mut place: Place,
    ) {
        if !self.fs.tree().is_directory(node) {
            // The mount has removed it, or the source has.
            return self.watches.forget(node);
        }
        let Some(spot) = self.watches.spot(node) else {
            return;
        };
        let directory = match self.looker.open(spot) {
            Ok(Some(directory)) if following.is_still(node, &directory.found) => directory,
            Ok(None) => return,
            // It was moved, or is gone: its name tells, which comes later.
            _ => {
                place.tries += 1;
                match place.tries < TRIES {
                    true => self.later.push((node, place)),
                    false => self.missing.push((node, place)),
                }
                return;
            }
        };
        let mut names: Vec<(CString, bool)> = place
            .names
            .into_iter()
            .filter_map(|(name, content)| Some((CString::new(name).ok()?, content)))
            .collect();
        if place.all {
            self.watches.watch_again(&directory, node, spot);
            let Ok(listed) = self.looker.names(&directory) else {
                return;
            };
            let listed = listed.into_iter().map(CString::from);
            let known = following.names(node).into_iter();
            let known = known.filter_map(|name| CString::new(name).ok());
            let mut all: Vec<_> = listed.chain(known).collect();
            all.sort_unstable();
            all.dedup();
            names = all.into_iter().map(|name| (name, false)).collect();
        }
        self.looker.enter(&directory);
        let number = batch.directories.len();
        for (name, touched) in names {
            // What cannot be read is left as it is.
            let Ok(seen) = self.looker.look(&directory, &name) else {
                continue;
            };
            batch.looks.push(Look {
                name: (node, name.to_bytes().into()),
                found: seen.as_ref().map(|seen| seen.found.clone()),
                touched,
                node: None,
                target: None,
                seed: None,
            });
            batch.seen.push((number, name, seen));
        }
        batch.directories.push((node, directory));
    }

    fn settle(&mut self, following: &mut Following<'_>, mut batch: Batch) {
        following.recognise(&mut batch.looks);
        let spots = self.prepare(following, &mut batch);
        let settled = following.settle(&mut batch.looks);
        for (number, look) in batch.looks.iter().enumerate() {
            if let (Some(node), (at, name, Some(seen))) = (look.node, &batch.seen[number]) {
                let above = &batch.directories[*at].1;
                self.begin_directory(above, (name, seen), node, spots[number]);
            }
        }
        for (number, node) in settled {
            let (at, name, seen) = &batch.seen[number];
            if seen.is_some() {
                self.moved(following, &batch.directories[*at].1, name, node);
            }
        }
        for (number, look) in batch.looks.iter().enumerate() {
            following.refresh(look);
            let (at, name, seen) = &batch.seen[number];
            if let (Some(node), true, true) =
                (look.node, self.linked.remove(&look.name), seen.is_some())
            {
                self.moved(following, &batch.directories[*at].1, name, node);
            }
        }
        for (node, directory) in &batch.directories {
            following.refresh_directory(*node, &directory.found);
        }
    }

    /// Reads of what is new what else there is to it, and gives where names of new ones stand.
    fn prepare(&self, following: &Following<'_>, batch: &mut Batch) -> Vec<Option<Spot>> {
        let mut spots = vec![None; batch.looks.len()];
        for (number, look) in batch.looks.iter_mut().enumerate() {
            let (at, name, Some(seen)) = &batch.seen[number] else {
                continue;
            };
            let directory = &batch.directories[*at].1;
            let attr = &seen.found.attr;
            let has_content = attr.kind == Kind::Regular && attr.size > 0;
            let there = look.node.filter(|node| self.fs.tree().get(*node).is_ok());
            let wants = match there {
                Some(node) => has_content && following.needs_seed(node),
                None => true,
            };
            if !wants {
                continue;
            }
            if attr.kind == Kind::Symlink {
                look.target = self.looker.target(directory, name).ok();
            }
            if has_content || attr.kind == Kind::Directory {
                let entered = self.looker.enter_name(directory, name, seen).ok();
                look.seed = entered.and_then(|(_, seed)| seed);
                spots[number] = entered.map(|(spot, _)| spot);
            }
        }
        spots
    }

    /// A directory that was not followed so far is from now on. It is watched before it is listed.
    fn begin_directory(
        &mut self,
        above: &LiveDirectory,
        (name, seen): (&CStr, &Seen),
        node: NodeId,
        spot: Option<Spot>,
    ) {
        let is_directory = seen.found.attr.kind == Kind::Directory && !seen.elsewhere;
        if !is_directory || self.watches.spot(node).is_some() {
            return;
        }
        let entered = || self.looker.enter_name(above, name, seen).ok();
        let Some(spot) = spot.or_else(|| entered().map(|(spot, _)| spot)) else {
            return;
        };
        self.watches.enter(node, spot);
        self.dirty.all(node);
        self.moved = true;
    }

    /// What is moved is looked for, and has its content, where it is now.
    fn moved(
        &mut self,
        following: &Following<'_>,
        above: &LiveDirectory,
        name: &CStr,
        node: NodeId,
    ) {
        let live = self.looker.live();
        if let Some(spot) = self.watches.spot(node) {
            live.moved(spot, above.spot(), name);
            self.moved = true;
        } else if let Some(seed) = following.seed_of(node) {
            live.moved_file(seed, above.spot(), name);
        }
    }
}
