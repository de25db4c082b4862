//! What the pure crates must not contain, and what the kit must.

use std::fs;
use std::path::{Path, PathBuf};

/// What a deterministic machine has no use for: a clock, a socket, hidden randomness, unordered maps, output, and
/// panics on what others said.
const FORBIDDEN: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "std::net",
    "std::thread",
    "thread_rng",
    "getrandom",
    "println!",
    "print!(",
    "dbg!",
    "todo!",
    "unimplemented!",
    "unsafe ",
    "panic!(",
    ".unwrap()",
    ".expect(",
];

const MOST_LINES: usize = 600;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert!(root.join("core/src/lib.rs").exists(), "{} is the workspace", root.display());
    root
}

/// The pure crates: the core and every protocol.
fn pure_crates() -> Vec<PathBuf> {
    let protocols = fs::read_dir(root().join("protocols")).into_iter().flatten().flatten().map(|entry| entry.path());
    let crates = protocols.chain([root().join("core")]);
    crates.filter(|path| path.join("Cargo.toml").exists()).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The code that ships: neither comments nor the test modules, which stand last in a file.
fn shipped(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    code.map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
}

#[test]
fn the_pure_crates_have_no_clock_no_socket_no_randomness_and_no_panic() {
    let mut found = Vec::new();
    for file in pure_crates().iter().flat_map(|krate| sources(&krate.join("src"))) {
        let text = read(&file);
        if file.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        for (number, line) in shipped(&text) {
            for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "not in a pure crate:\n{}", found.join("\n"));
}

#[test]
fn the_pure_crates_are_no_std_and_forbid_unsafe() {
    for krate in pure_crates() {
        let lib = read(&krate.join("src/lib.rs"));
        assert!(lib.contains("no_std"), "{} is no_std", krate.display());
        let manifest = read(&krate.join("Cargo.toml"));
        let forbids = manifest.contains("unsafe_code = \"forbid\"") || lib.contains("#![forbid(unsafe_code)]");
        assert!(forbids, "{} forbids unsafe code", krate.display());
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    let folders = pure_crates().into_iter().map(|krate| krate.join("src"));
    let folders = folders.chain([root().join("adapters"), root().join("tests")]);
    for file in folders.flat_map(|folder| sources(&folder)) {
        let text = read(&file);
        let lines = if file.starts_with(root().join("core")) { shipped(&text).count() } else { text.lines().count() };
        assert!(lines <= MOST_LINES, "{} has {lines} lines; one module, one idea", file.display());
    }
}

#[test]
fn no_test_waits_to_be_asked_for() {
    // Apart, or this file would be found.
    let mark = format!("#[{}", "ignore");
    let folders = ["core", "protocols", "adapters", "tests", "fuzz/cases"];
    for file in folders.into_iter().flat_map(|folder| sources(&root().join(folder))) {
        assert!(!read(&file).contains(&mark), "{} has a test that nobody runs", file.display());
    }
}

#[test]
fn every_law_has_its_name_and_its_function_in_the_kit() {
    let kit: String = sources(&root().join("tests/laws/src")).iter().map(|file| read(file)).collect();
    for law in duologue_laws::Law::ALL {
        let name = format!("{law:?}");
        let checked = kit.matches(&format!("Law::{name}")).count();
        assert!(checked > 0, "{name} is checked somewhere");
    }
    for number in 1..=15 {
        let named = duologue_laws::Law::ALL.iter().any(|law| {
            let name = format!("{law:?}");
            name.strip_prefix('L')
                .is_some_and(|rest| rest.trim_end_matches(char::is_alphabetic).starts_with(&number.to_string()))
        });
        assert!(named, "L{number} is in the kit");
    }
}
