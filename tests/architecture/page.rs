//! What ARCHITECTURE.md says, against the source.

use std::{collections::BTreeSet, fs};

use crate::{
    assert_none, layer, library, read, root, rust_files,
    scan::{Crate, words},
};

const PAGE: &str = "ARCHITECTURE.md";

/// It is to be read at once.
const MAX_PAGE: usize = 150;

/// Who adds one thing finds no more files than these.
const MAX_FILES: usize = 3;

#[test]
fn the_page_names_what_there_is() {
    let (page, library) = (read(PAGE), library());
    assert!(page.lines().count() <= MAX_PAGE, "{} lines", page.lines().count());
    assert!(quoted(&page).count() > 150, "what is checked is not found");
    let known: BTreeSet<_> = rust_files("src").iter().flat_map(|file| words(&read(file))).collect();
    assert_none(quoted(&page).filter(|name| !is_there(name, &library, &known)));
    assert!(read("README.md").contains("(ARCHITECTURE.md)"), "nobody finds it");
}

#[test]
fn every_folder_is_in_the_map_in_the_order_of_its_layer_and_every_file_beside_them() {
    let page = read(PAGE);
    let map: Vec<_> = rows(&page, "Map").skip(2).filter_map(|row| quoted(row).next()).collect();
    let folders: BTreeSet<_> = (rust_files("src").iter())
        .filter_map(|file| file.strip_prefix("src/")?.strip_suffix("mod.rs").map(str::to_owned))
        .filter(|folder| !folder.ends_with("tests/"))
        .collect();
    assert_eq!(map.iter().map(|&folder| folder.to_owned()).collect::<BTreeSet<_>>(), folders);
    let files = fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().file_name());
    let files = files.map(|file| file.into_string().unwrap());
    let files = files.filter(|file| file.ends_with(".rs") && file != "lib.rs");
    let of_map: Vec<_> = quoted(section(&page, "Map")).collect();
    assert_none(files.filter(|file| !of_map.contains(&file.as_str())));
    let layers = map.iter().map(|folder| layer(folder.split('/').next().unwrap()).unwrap());
    assert!(layers.is_sorted(), "{map:?}");
}

#[test]
fn the_threads_are_those_that_are_started() {
    let page = read(PAGE);
    let named: BTreeSet<_> = rows(&page, "Threads")
        .take_while(|row| !row.starts_with("| from |"))
        .flat_map(|row| quoted(row.split('|').nth(1).unwrap()))
        .collect();
    let files = rust_files("src").into_iter().filter(|file| !file.contains("tests"));
    let texts: Vec<_> = files.map(|file| read(&file)).collect();
    let starts = texts.iter().flat_map(|text| text.split("thread::spawn(\"").skip(1));
    let started: BTreeSet<_> = starts.filter_map(|start| start.split('"').next()).collect();
    assert_eq!(named, started);
}

/// Behind each `file::function` stand names that the function has in this order.
#[test]
fn admission_is_in_the_order_of_the_source() {
    let page = read(PAGE);
    let (mut rest, mut of, mut checked) = (String::new(), "", 0);
    for name in quoted(section(&page, "Admission, in order")) {
        if let Some((file, function)) = name.split_once("::").filter(|(file, _)| is_path(file)) {
            let text = read(&format!("src/{file}"));
            let begin = text.find(&format!("fn {function}(")).expect("it is there");
            let body = text[begin + function.len() + 4..].split("\n    }\n").next();
            (rest, of) = (body.expect("of a method").to_owned(), name);
        } else if is_path(name) {
            of = "";
        } else if !of.is_empty() {
            let at = rest.find(name).unwrap_or_else(|| panic!("{of} has {name} earlier or never"));
            rest = rest.split_off(at + name.len());
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked}");
}

#[test]
fn what_is_added_goes_into_few_files() {
    let page = read(PAGE);
    let rows: Vec<_> = rows(&page, "Where to add").skip(2).collect();
    assert!(rows.len() >= 8, "{rows:?}");
    assert_none(rows.into_iter().filter(|row| {
        let files = quoted(row).filter(|name| is_path(name)).count();
        files == 0 || files > MAX_FILES
    }));
}

/// What stands between backticks, in order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect("there is the section");
    rest.split("\n## ").next().unwrap_or(rest)
}

fn rows<'a>(page: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    section(page, heading).lines().filter(|line| line.starts_with('|'))
}

fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".rs") || name.ends_with(".md")
}

/// Whether there is such a file or folder, item, or name in the source.
fn is_there(name: &str, library: &Crate, known: &BTreeSet<String>) -> bool {
    match name.split_once("::") {
        Some((file, function)) if is_path(file) => {
            let text = ["", "src/"].map(|folder| root().join(folder).join(file));
            let text = text.iter().find_map(|path| fs::read_to_string(path).ok());
            text.is_some_and(|text| text.contains(&format!("fn {function}(")))
        }
        Some((of, item)) => library.sources.iter().any(|source| {
            source.defines.contains_key(of)
                && words(&read(&format!("src/{}", source.file))).contains(item)
        }),
        None if is_path(name) => {
            let is_below = |file: &String| {
                let file = format!("/{file}");
                file.contains(&format!("/{name}")) && (name.ends_with('/') || file.ends_with(name))
            };
            root().join(name).exists() || rust_files("src").iter().any(is_below)
        }
        None if name.starts_with("p2p-") => true,
        None => known.contains(name),
    }
}
