//! What the integration guide quotes is what stands in the files. Its programs are doc tests of `src/lib.rs`.

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The text without indentation and empty lines: a quotation in a list is indented.
fn plain(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn the_steps_are_the_files_of_the_first_adapter() {
    let guide = read("docs/integration-guide.md");
    for file in ["clock", "socket", "flag"] {
        let text = read(&format!("examples/src/first_adapter/{file}.rs"));
        assert!(guide.contains(&format!("```rust\n{text}```\n")), "{file}.rs is quoted otherwise in the guide");
    }
}

#[test]
fn the_behaviour_suite_is_plugged_in_as_told() {
    let guide = plain(&read("docs/integration-guide.md"));
    let file = read("tests/tests/behaviour_async_std.rs");
    let code: Vec<&str> = file.lines().filter(|line| !line.starts_with("//!")).collect();
    assert!(guide.contains(&plain(&code.join("\n"))), "behaviour_async_std.rs is quoted otherwise in the guide");
}

#[test]
fn every_block_is_a_program_a_diagram_or_compared_here() {
    let guide = read("docs/integration-guide.md");
    let opened = guide.lines().map(str::trim).filter(|line| line.starts_with("```") && line.len() > 3);
    let kinds: Vec<&str> = opened.collect();
    assert!(kinds.iter().all(|kind| ["```rust", "```mermaid", "```text"].contains(kind)), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "```text").count(), 1, "one text is quoted, and compared above");
}

#[test]
fn every_file_that_the_guide_links_to_exists() {
    let guide = read("docs/integration-guide.md");
    let links = guide.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files: Vec<&str> = links.filter(|link| link.starts_with("../")).collect();
    assert!(files.len() > 4);
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
        assert!(path.exists(), "{file}");
    }
}
