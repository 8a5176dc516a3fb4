use super::*;
use crate::tree::{Attr, InodeRef, Kind, NewInode, RenameMode, Time};
use std::collections::BTreeMap;

const NOW: Time = Time { sec: 7, nsec: 8 };

struct Bed {
    tree: Tree,
    journal: Arc<Journal>,
    clock: i64,
}

fn plain(kind: Kind) -> NewInode<'static> {
    let nlink = 1 + u32::from(kind == Kind::Directory);
    NewInode::plain(Attr {
        nlink,
        ..Attr::new(kind, 0o755, 0, 0, NOW)
    })
}

impl Bed {
    fn new() -> Bed {
        Bed::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Bed {
        Bed {
            tree: Tree::new(plain(Kind::Directory).attr),
            journal: Arc::new(Journal::with_capacity(capacity)),
            clock: 10,
        }
    }

    fn now(&mut self) -> Time {
        self.clock += 1;
        Time {
            sec: self.clock,
            nsec: 0,
        }
    }

    fn make(&mut self, parent: NodeId, name: &str, kind: Kind) -> NodeId {
        let now = self.now();
        let parent = self.tree.get(parent).unwrap();
        let made = self
            .tree
            .create(&parent, name.as_bytes(), plain(kind), Some(now));
        made.unwrap().id()
    }

    fn file(&mut self, name: &str) -> NodeId {
        self.make(NodeId::ROOT, name, Kind::Regular)
    }

    fn dir(&mut self, name: &str) -> NodeId {
        self.make(NodeId::ROOT, name, Kind::Directory)
    }

    fn write(&mut self, id: NodeId) {
        let now = self.now();
        let inode = self.tree.get(id).unwrap();
        let set = inode.update(|attr| {
            attr.mtime = now;
            Ok(())
        });
        set.unwrap();
    }

    fn rename(&mut self, from: (NodeId, &str), to: (NodeId, &str)) {
        let now = self.now();
        let (old, new) = (self.tree.get(from.0).unwrap(), self.tree.get(to.0).unwrap());
        let (from, to) = ((&old, from.1.as_bytes()), (&new, to.1.as_bytes()));
        self.tree
            .rename(from, to, RenameMode::Replace, now)
            .unwrap();
    }

    fn unlink(&mut self, parent: NodeId, name: &str) {
        let now = self.now();
        let parent = self.tree.get(parent).unwrap();
        self.tree.unlink(&parent, name.as_bytes(), now).unwrap();
    }

    fn link(&mut self, id: NodeId, parent: NodeId, name: &str) {
        let now = self.now();
        let (inode, parent) = (self.tree.get(id).unwrap(), self.tree.get(parent).unwrap());
        let name = name.as_bytes();
        self.tree.link(&inode, &parent, name, Some(now)).unwrap();
    }

    fn ask_of(&self, top: NodeId, since: Option<Token>) -> ChangedSince {
        let asked = Query {
            since,
            top,
            except: None,
            patience: Duration::ZERO,
        };
        self.journal.ask(&self.tree, &asked).unwrap()
    }

    fn ask(&self, since: Option<Token>) -> ChangedSince {
        self.ask_of(NodeId::ROOT, since)
    }

    fn token(&self) -> Token {
        self.ask(None).token
    }

    /// The paths that changed since, those of moved directories with a slash.
    fn since(&self, token: Token) -> Vec<String> {
        let paths = self.ask(Some(token)).paths.expect("what changed");
        paths.iter().map(shown).collect()
    }
}

fn shown(told: &ChangedPath) -> String {
    let slash = if told.below { "/" } else { "" };
    format!("{}{slash}", told.path)
}

#[test]
fn whoever_asks_first_is_told_that_everything_may_have_changed() {
    let mut bed = Bed::new();
    bed.file("f");
    assert_eq!(bed.ask(None).paths, None);
    let token = bed.token();
    assert_eq!(bed.since(token), [""; 0]);
    bed.file("g");
    assert_eq!(bed.since(token), ["g"]);
    assert_eq!(bed.since(token), ["g"], "and again, as long as it is asked");
    let later = bed.token();
    assert_eq!(bed.since(later), [""; 0]);
}

#[test]
fn each_path_is_told_once() {
    let mut bed = Bed::new();
    let (d, f) = (bed.dir("d"), bed.file("f"));
    let token = bed.token();
    for _ in 0..3 {
        bed.write(f);
        bed.write(d);
        bed.make(d, "new", Kind::Regular);
        bed.unlink(d, "new");
    }
    assert_eq!(bed.since(token), ["d", "d/new", "f"]);
}

#[test]
fn a_change_after_the_answer_is_told_with_the_next_one() {
    let mut bed = Bed::new();
    let f = bed.file("f");
    let first = bed.token();
    bed.write(f);
    let second = bed.ask(Some(first)).token;
    bed.write(f);
    assert_eq!(bed.since(second), ["f"]);
}

#[test]
fn both_names_of_a_rename_are_told_and_a_directory_stands_for_what_is_below() {
    let mut bed = Bed::new();
    let (a, root) = (bed.dir("a"), NodeId::ROOT);
    let f = bed.make(a, "f", Kind::Regular);
    let token = bed.token();
    bed.write(f);
    bed.rename((a, "f"), (root, "g"));
    assert_eq!(bed.since(token), ["a/f", "g"]);
    bed.rename((root, "g"), (a, "f"));
    bed.rename((root, "a"), (root, "b"));
    assert_eq!(bed.since(token), ["a/", "b/", "b/f", "g"]);
}

#[test]
fn an_inode_is_told_by_all_of_its_names() {
    let mut bed = Bed::new();
    let (d, f, root) = (bed.dir("d"), bed.file("f"), NodeId::ROOT);
    bed.link(f, d, "one");
    bed.link(f, d, "two");
    let token = bed.token();
    bed.write(f);
    assert_eq!(bed.since(token), ["d/one", "d/two", "f"]);
    let token = bed.token();
    bed.unlink(d, "one");
    assert_eq!(bed.since(token), ["d/one", "d/two", "f"], "its link count");
    let token = bed.token();
    bed.rename((root, "f"), (root, "g"));
    assert_eq!(bed.since(token), ["d/two", "f", "g"], "its ctime");
}

#[test]
fn a_file_is_found_by_whatever_name_it_got() {
    let mut bed = Bed::new();
    let (d, root) = (bed.dir("d"), NodeId::ROOT);
    let gone = bed.file("gone");
    bed.unlink(root, "gone");
    let (f, g) = (bed.file("f"), bed.file("g"));
    bed.rename((root, "f"), (d, "f"));
    let token = bed.token();
    bed.write(f);
    bed.write(g);
    assert_eq!(bed.since(token), ["d/f", "g"]);
    assert!(bed.tree.get(gone).is_err());
}

#[test]
fn only_what_is_below_the_directory_is_told() {
    let mut bed = Bed::new();
    let (a, b) = (bed.dir("a"), bed.dir("b"));
    let below = bed.make(a, "below", Kind::Directory);
    let token = bed.ask_of(a, None).token;
    bed.make(b, "f", Kind::Regular);
    bed.make(below, "f", Kind::Regular);
    let shown_of = |bed: &Bed| {
        let paths = bed.ask_of(a, Some(token)).paths.unwrap();
        paths.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(shown_of(&bed), ["below/f"]);
    bed.rename((NodeId::ROOT, "a"), (b, "a"));
    assert_eq!(shown_of(&bed), ["below/f"]);
    bed.write(a);
    assert_eq!(shown_of(&bed), [".", "below/f"]);
    let except = Query {
        since: Some(token),
        top: a,
        except: Some(b"below".to_vec().into()),
        patience: Duration::ZERO,
    };
    let told = bed.journal.ask(&bed.tree, &except).unwrap().paths.unwrap();
    assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), ["."]);
}

#[test]
fn a_token_of_another_directory_journal_or_time_says_nothing() {
    let mut bed = Bed::new();
    let d = bed.dir("d");
    let token = bed.token();
    let foreign = [
        Token { top: d, ..token },
        Token {
            journal: token.journal ^ 1,
            ..token
        },
        Token { number: 0, ..token },
        Token { number: 1, ..token },
        Token {
            number: token.number + 1,
            ..token
        },
        Token {
            number: u64::MAX,
            ..token
        },
        Bed::new().token(),
    ];
    for foreign in foreign {
        assert_eq!(bed.ask(Some(foreign)).paths, None, "{foreign}");
    }
    assert_eq!(bed.ask_of(d, Some(token)).paths, None);
    assert!(bed.ask(Some(token)).paths.is_some());
    let other = Arc::new(Journal::default());
    let second = Bed {
        journal: other,
        ..bed
    };
    let token = second.token();
    assert_eq!(
        second.ask(Some(token)).paths,
        None,
        "the tree tells another"
    );
}

#[test]
fn tokens_are_written_in_one_way() {
    let token = Bed::new().token();
    assert_eq!(token.to_string().parse(), Ok(token));
    let text = token.to_string();
    for wrong in [
        "",
        "/",
        "builtin:0.1:2",
        "1700000000000000000",
        &text[1..],
        &text[..text.len() - 1].replace(':', ""),
        &text.to_uppercase(),
        &format!("{text}:"),
        &format!("{text} "),
        &text.replace(":1:", ":+1:"),
    ] {
        assert_eq!(wrong.parse::<Token>(), Err(NoToken), "{wrong}");
    }
}

#[test]
fn what_was_given_up_may_have_changed() {
    let mut bed = Bed::with_capacity(128 << 10);
    let token = bed.token();
    let mut later = token;
    for round in 0..8000 {
        let name = format!("{round:04}");
        let file = bed.file(&name);
        assert_eq!(bed.since(later), [name]);
        if round % 3 == 0 {
            bed.write(file);
        }
        later = bed.token();
    }
    assert_eq!(bed.ask(Some(token)).paths, None);
    let is_kept = |back| {
        let number = later.number - back;
        bed.ask(Some(Token { number, ..later })).paths.is_some()
    };
    assert!(is_kept(0) && is_kept(2000));
}

#[test]
fn a_copied_process_begins_anew() {
    let mut bed = Bed::new();
    let token = bed.token();
    bed.journal.log.lock().renew(7);
    bed.file("f");
    assert_eq!(bed.ask(Some(token)).paths, None);
    let token = bed.token();
    bed.file("g");
    assert_eq!(bed.since(token), ["g"], "it is still told");
}

#[test]
fn whoever_waits_is_woken_by_a_change() {
    let mut bed = Bed::new();
    let token = bed.token();
    let asked = Query {
        since: Some(token),
        top: NodeId::ROOT,
        except: None,
        patience: Duration::from_secs(600),
    };
    let (journal, tree) = (Arc::clone(&bed.journal), &bed.tree);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| journal.ask(tree, &asked).unwrap());
        let root = tree.root();
        tree.create(&root, b"f", plain(Kind::Regular), Some(NOW))
            .unwrap();
        assert_eq!(waiting.join().unwrap().paths.unwrap().len(), 1);
    });
    bed.write(NodeId::ROOT);
}

#[test]
fn a_directory_that_is_gone_or_none_is_refused() {
    let mut bed = Bed::new();
    let file = bed.file("f");
    let ask = |bed: &Bed, top| {
        let asked = Query {
            since: None,
            top,
            except: None,
            patience: Duration::ZERO,
        };
        bed.journal.ask(&bed.tree, &asked).err()
    };
    assert_eq!(ask(&bed, file), Some(Errno::NOTDIR));
    bed.unlink(NodeId::ROOT, "f");
    assert_eq!(ask(&bed, file), Some(Errno::STALE));
    assert_eq!(ask(&bed, NodeId::from_raw(u64::MAX)), Some(Errno::STALE));
}

/// What each path leads to. The times of directories move with their names, which is not told.
type Seen = BTreeMap<Vec<u8>, (NodeId, Attr)>;

fn look(tree: &Tree, dir: &InodeRef<'_, ()>, at: &[u8], seen: &mut Seen) {
    let mut below = Vec::new();
    let listed = tree.read_dir(dir, 0, |entry| {
        below.push((entry.name.to_vec(), entry.id));
        std::ops::ControlFlow::Continue(())
    });
    listed.unwrap();
    for (name, id) in below {
        let inode = tree.get(id).unwrap();
        let path = [at, &name].concat();
        let mut attr = inode.attr();
        if inode.kind() == Kind::Directory {
            attr = Attr {
                perm: attr.perm,
                ..Attr::default()
            };
            look(tree, &inode, &[&path, &b"/"[..]].concat(), seen);
        }
        seen.insert(path, (id, attr));
    }
}

fn seen(bed: &Bed) -> Seen {
    let mut seen = Seen::new();
    look(&bed.tree, &bed.tree.root(), b"", &mut seen);
    seen
}

/// One change at random; some are refused.
fn change(bed: &mut Bed, random: &mut fastrand::Rng) {
    let mut directories = vec![NodeId::ROOT];
    let mut files = Vec::new();
    for (id, _) in seen(bed).into_values() {
        match bed.tree.get(id).unwrap().kind() {
            Kind::Directory => directories.push(id),
            _ => files.push(id),
        }
    }
    let now = bed.now();
    let tree = &bed.tree;
    let mut dir = || {
        tree.get(directories[random.usize(..directories.len())])
            .unwrap()
    };
    let (one, other) = (dir(), dir());
    let name = [b'a' + random.u8(..4)];
    let new = [b'a' + random.u8(..4)];
    let file = (!files.is_empty()).then(|| files[random.usize(..files.len())]);
    let file = file.map(|file| tree.get(file).unwrap());
    match random.u8(..12) {
        0 | 1 => drop(tree.create(&one, &name, plain(Kind::Regular), Some(now))),
        2 | 3 => drop(tree.create(&one, &name, plain(Kind::Directory), Some(now))),
        4 => drop(tree.unlink(&one, &name, now)),
        5 => drop(tree.rmdir(&one, &name, now)),
        6 => _ = tree.rename((&one, &name), (&other, &new), RenameMode::Replace, now),
        7 => _ = tree.rename((&one, &name), (&other, &new), RenameMode::Exchange, now),
        8 if random.u8(..4) == 0 => drop(tree.remove_tree(&one, &name, now)),
        9 => {
            let left = plain(Kind::CharDevice);
            let (from, to) = ((&one, &name[..]), (&other, &new[..]));
            _ = tree.rename_leaving(from, to, RenameMode::Replace, left, now);
        }
        10 => {
            let set = one.update(|attr| {
                attr.perm ^= 1;
                Ok(())
            });
            set.unwrap();
        }
        _ => {
            let Some(file) = file else {
                return;
            };
            match random.bool() {
                true => drop(tree.link(&file, &one, &name, Some(now))),
                false => {
                    let set = file.update(|attr| {
                        attr.mtime = now;
                        Ok(())
                    });
                    set.unwrap();
                }
            }
        }
    }
}

fn covers(told: &ChangedPath, path: &[u8]) -> bool {
    let path = PathBytes::from(path.to_vec());
    path == told.path || told.below && path.is_at_or_below(&told.path)
}

#[test]
fn whatever_differs_was_told_from_each_token() {
    for seed in 0..if cfg!(miri) { 2 } else { 60 } {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bed = Bed::new();
        let mut known = vec![(bed.token(), seen(&bed))];
        for _ in 0..30 {
            for _ in 0..random.usize(..4) {
                change(&mut bed, &mut random);
            }
            let now = seen(&bed);
            let mut token = None;
            for (since, then) in &known {
                let answer = bed.ask(Some(*since));
                let told = answer.paths.unwrap();
                let paths = then.keys().chain(now.keys());
                for path in paths.filter(|path| then.get(*path) != now.get(*path)) {
                    let covered = told.iter().any(|told| covers(told, path));
                    let shown = String::from_utf8_lossy(path);
                    assert!(covered, "seed {seed}: {shown} is not among {told:?}");
                }
                for told in told {
                    let there = now.get(told.path.as_bytes()).map(|(id, _)| *id);
                    let kind = there.map(|id| bed.tree.get(id).unwrap().kind());
                    let root = told.path == PathBytes::ROOT;
                    assert_eq!(told.directory, root || kind == Some(Kind::Directory));
                }
                token = Some(answer.token);
            }
            known.push((token.unwrap(), now));
        }
    }
}
