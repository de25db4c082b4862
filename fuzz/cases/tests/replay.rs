//! Every committed input through the functions that the fuzz targets run, on a stable toolchain.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use duologue_fuzz::{TARGETS, Target, target};

/// No input may take longer: libFuzzer would call it a hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn fuzz_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert!(folder.join("fuzz_targets").is_dir(), "{} is the fuzz folder", folder.display());
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn replay(target: &Target, folder: &str) -> usize {
    let files = files(&fuzz_folder().join(folder).join(target.name));
    for file in &files {
        let data = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let began = Instant::now();
        let held = catch_unwind(|| (target.run)(&data)).is_ok();
        assert!(held, "{} fails in {}\n{}", target.name, file.display(), (target.show)(&data));
        assert!(began.elapsed() < PATIENCE, "{} hangs in {}", target.name, file.display());
    }
    files.len()
}

macro_rules! replays {
    ($( $name:ident ),*) => {
        $(
            #[test]
            fn $name() {
                let target = target(stringify!($name)).expect("a target of this name");
                let inputs = replay(target, "corpus");
                assert!(inputs >= 12, "the corpus of {} has {inputs} inputs", target.name);
                replay(target, "regressions");
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            // The canary has no corpus, for it is to be found from nothing; it has a test of its own.
            let here = BTreeSet::from([$( stringify!($name), )* "canary"]);
            let declared: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(declared, here, "targets that are replayed");
            let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let compiled: BTreeSet<_> = files(&fuzz_folder().join("fuzz_targets")).into_iter().filter_map(stem).collect();
            assert_eq!(compiled, declared.iter().map(ToString::to_string).collect(), "files in fuzz_targets");
            let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).expect("the targets' manifest");
            for name in declared {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is no [[bin]]");
            }
        }
    };
}

replays!(
    framing,
    session,
    driver,
    faults,
    codecs,
    websocket,
    websocket_deflate,
    websocket_handshake,
    http1,
    yamux,
    yamux_crate,
    brpc
);

#[test]
fn any_bytes_at_all_are_an_input() {
    for target in TARGETS.iter().filter(|target| target.name != "canary") {
        for len in [0, 1, 7, 64, 300] {
            for seed in 0..20_u32 {
                let bytes: Vec<u8> = (0..len).map(|i: u32| (i * 31 + seed * 97 + i * i * seed) as u8).collect();
                (target.run)(&bytes);
            }
        }
    }
}

#[test]
fn the_canary_sings_for_the_input_that_was_found() {
    let found = fs::read(fuzz_folder().join("canary-found")).expect("the input is committed");
    let canary = target("canary").expect("it is a target");
    assert!(catch_unwind(|| (canary.run)(&found)).is_err(), "the planted bug is gone: {}", (canary.show)(&found));
}
