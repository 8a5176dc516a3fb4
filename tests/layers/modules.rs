//! The modules of a crate and what each of them uses, read from its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, ItemMod, Macro, Token, UseTree};

/// The names of a crate and of modules inside it: `["norefs", "fs", "io"]`.
pub type Name = Vec<String>;

/// One module, as its source shows it. What is only compiled for tests is left out.
#[derive(Default)]
pub struct Module {
    pub file: PathBuf,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// What names mean that are brought in by `use`.
    imports: BTreeMap<String, Name>,
    globs: Vec<Name>,
    /// The paths in it, as written.
    paths: Vec<Name>,
}

/// The modules of some crates.
#[derive(Default)]
pub struct Modules(pub BTreeMap<Name, Module>);

/// `from` names something that `to` holds.
pub type Edges = BTreeSet<(Name, Name)>;

impl Modules {
    /// Reads a crate and all its modules, beginning with the file `root`.
    pub fn read(&mut self, name: &str, root: &Path) {
        let directory = root.parent().expect("a file is in a directory").to_owned();
        self.read_file(vec![name.to_owned()], root, &directory, &|path| {
            std::fs::read_to_string(path).ok()
        });
    }

    /// The same with `sources` in place of files: each one's path and text.
    #[cfg(test)]
    pub fn given(name: &str, sources: &[(&str, &str)]) -> Modules {
        let mut modules = Modules::default();
        let text = |path: &Path| {
            let mut found = sources.iter().filter(|(known, _)| Path::new(known) == path);
            found.next().map(|(_, text)| (*text).to_owned())
        };
        modules.read_file(
            vec![name.to_owned()],
            Path::new("lib.rs"),
            Path::new(""),
            &text,
        );
        modules
    }

    fn read_file(
        &mut self,
        name: Name,
        file: &Path,
        directory: &Path,
        text: &dyn Fn(&Path) -> Option<String>,
    ) {
        let source = text(file).unwrap_or_else(|| panic!("{} can be read", file.display()));
        let parsed = syn::parse_file(&source).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let mut reader = Reader::default();
        reader.module.file = file.to_owned();
        reader.visit_file(&parsed);
        for child in reader.module.children.clone() {
            let (flat, room) = (
                directory.join(format!("{child}.rs")),
                directory.join(&child),
            );
            let nested = room.join("mod.rs");
            let file = if text(&flat).is_some() { flat } else { nested };
            let mut below = name.clone();
            below.push(child);
            self.read_file(below, &file, &room, text);
        }
        self.0.insert(name, reader.module);
    }

    /// Which module uses what another one holds.
    pub fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (name, module) in &self.0 {
            for path in &module.paths {
                if let Some(absolute) = self.absolute(name, path)
                    && let Some(to) = self.holder(absolute)
                    && to != *name
                {
                    edges.insert((name.clone(), to));
                }
            }
        }
        edges
    }

    /// `path` as written in the module `from`, from its crate on.
    fn absolute(&self, from: &Name, path: &[String]) -> Option<Name> {
        let module = &self.0[from];
        let first = &path[0];
        let mut start = match first.as_str() {
            "crate" => vec![from[0].clone()],
            "self" => from.clone(),
            "super" => from[..from.len() - 1].to_vec(),
            _ if module.children.contains(first) => [&from[..], &path[..1]].concat(),
            _ if module.imports.contains_key(first) => {
                let import = &module.imports[first];
                match import[0] == *first {
                    true => vec![first.clone()],
                    false => self.absolute(from, import)?,
                }
            }
            _ => vec![first.clone()],
        };
        let mut rest = &path[1..];
        while let [up, more @ ..] = rest
            && up == "super"
        {
            start.pop();
            rest = more;
        }
        self.0
            .contains_key(&start[..1])
            .then(|| [start, rest.to_vec()].concat())
    }

    /// The module that holds what an absolute path leads to, through what other modules pass on.
    fn holder(&self, path: Name) -> Option<Name> {
        self.holder_within(path, 16)
    }

    fn holder_within(&self, path: Name, left: u32) -> Option<Name> {
        let mut at = path[..1].to_vec();
        for (index, next) in path.iter().enumerate().skip(1) {
            let module = self.0.get(&at)?;
            if module.children.contains(next) {
                at.push(next.clone());
                continue;
            }
            if left == 0 || module.items.contains(next) {
                return Some(at);
            }
            let rest = &path[index + 1..];
            if let Some(import) = module.imports.get(next) {
                // What comes from a crate that is not ours is as if it were made here.
                let Some(absolute) = self.absolute(&at, import) else {
                    return Some(at);
                };
                return self.holder_within([&absolute[..], rest].concat(), left - 1);
            }
            let passed_on = module.globs.iter().find_map(|glob| {
                let from = self.holder_within(self.absolute(&at, glob)?, left - 1)?;
                let known = &self.0[&from];
                let has = known.items.contains(next) || known.imports.contains_key(next);
                has.then(|| [&from[..], &path[index..]].concat())
            });
            return match passed_on {
                Some(path) => self.holder_within(path, left - 1),
                None => Some(at),
            };
        }
        Some(at)
    }
}

#[derive(Default)]
struct Reader {
    module: Module,
}

fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let test = |list: &syn::MetaList| list.tokens.to_string() == "test";
        attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(test)
    })
}

impl Reader {
    fn import(&mut self, tree: &UseTree, mut before: Name) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before);
            }
            UseTree::Name(name) => self.bring(before, name.ident.to_string(), None),
            UseTree::Rename(name) => {
                self.bring(
                    before,
                    name.ident.to_string(),
                    Some(name.rename.to_string()),
                );
            }
            UseTree::Glob(_) => {
                self.module.paths.push(before.clone());
                self.module.globs.push(before);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before.clone());
                }
            }
        }
    }

    fn bring(&mut self, mut path: Name, last: String, renamed: Option<String>) {
        let known = if last == "self" {
            path.last().cloned()
        } else {
            Some(last.clone())
        };
        if last != "self" {
            path.push(last);
        }
        if let Some(name) = renamed.or(known) {
            self.module.imports.insert(name, path.clone());
        }
        self.module.paths.push(path);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, ident) = match item {
            Item::Const(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            Item::Static(item) => (&item.attrs, Some(&item.ident)),
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            Item::Union(item) => (&item.attrs, Some(&item.ident)),
            Item::Impl(item) => (&item.attrs, None),
            Item::Mod(item) => (&item.attrs, None),
            Item::Use(item) => (&item.attrs, None),
            _ => return visit::visit_item(self, item),
        };
        if only_for_tests(attributes) {
            return;
        }
        if let Some(ident) = ident {
            self.module.items.insert(ident.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        match &item.content {
            None => drop(self.module.children.insert(item.ident.to_string())),
            Some(_) => {
                self.module.items.insert(item.ident.to_string());
                visit::visit_item_mod(self, item);
            }
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, Name::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        let segments: Name = segments.collect();
        if segments.len() > 1 {
            self.module.paths.push(segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        // What a macro of ours makes of other tokens is not seen.
        if let Ok(arguments) =
            called.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated)
        {
            arguments
                .iter()
                .for_each(|argument| self.visit_expr(argument));
        }
        visit::visit_macro(self, called);
    }
}
