#!/usr/bin/env python3
"""Mutation testing of the core: cargo-mutants changes one expression at a time, and the core's tests must notice.

The tree is copied as for the planted faults, and the cross-crate tests that know only the core (laws, exhaustive,
scenarios, behaviours, chunking, allocation) become one test binary, because linking six of them costs more than running
them. `cargo mutants` works in that copy, one mutant at a time, on the files asked for in the order given.

    run.py                       every file of the core
    run.py session send_queue    files of the core whose path contains one of these words, in this order
    run.py --minutes 40          stops after that time, between two files
    run.py --quick               a first look, on a busy machine
    run.py --in DIR              keeps tree, build and results in DIR, to go on from there later
    run.py --list                the number of mutants of each file

Needs cargo-mutants (`cargo install cargo-mutants --locked`). The exit code is 1 if a mutant was missed that is not
listed in `accepted.txt`: each line there is a mutant's name as cargo-mutants prints it, without its line and column.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the script that is imported below is no library
ROOT = HERE.parent.parent
SUITES = ("allocation", "behaviours", "chunking", "corners", "exhaustive", "laws", "scenarios")

# Small enough for a run per mutant. What survives these is tried again with those.
QUICK = {"DUOLOGUE_CASES": "60", "DUOLOGUE_DEPTH": "2"}
THOROUGH = {"DUOLOGUE_CASES": "1200", "DUOLOGUE_DEPTH": "4"}
ENVIRONMENT = {
    "RUST_BACKTRACE": "0",
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_TEST_DEBUG": "0",
}


def planted():
    """The script of the planted faults, for its copy of the tree."""
    spec = importlib.util.spec_from_file_location("planted", HERE.parent / "planted-faults/run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_tree(tree):
    """The copy that is mutated."""
    tree.mkdir(parents=True)
    planted().copy_tree(tree)
    (tree / "docs").mkdir(exist_ok=True)
    shutil.copy(ROOT / "docs/states.md", tree / "docs")
    for suite in SUITES:
        shutil.copy(ROOT / f"tests/tests/{suite}.rs", tree / "tests/tests")
    modules = "".join(f'#[path = "../tests/{name}.rs"]\nmod {name};\n' for name in SUITES)
    (tree / "tests/all").mkdir()
    (tree / "tests/all/main.rs").write_text("//! All suites as one binary.\n" + modules)
    manifest = tree / "tests/Cargo.toml"
    text = manifest.read_text().replace('edition = "2024"', 'edition = "2024"\nautotests = false')
    manifest.write_text(text + '\n[[test]]\nname = "all"\npath = "all/main.rs"\n')
    members = re.compile(r'"protocols/[^"]*",? ?')
    root = tree / "Cargo.toml"
    root.write_text(members.sub("", root.read_text()))


def environment(work):
    """What cargo and the tests see."""
    result = {**os.environ, **ENVIRONMENT, "CARGO_TARGET_DIR": str(work / "target")}
    result.pop("UPDATE", None)
    return result


def mutants_of(tree, env):
    """Every mutant of the core, by file, with the tests' own code left out."""
    command = ["cargo", "mutants", "--list", "--json", "--package", "duologue-core"]
    listed = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=True)
    files = {}
    for mutant in json.loads(listed.stdout):
        files.setdefault(mutant["file"], []).append(mutant)
    return files


def chosen(files, words):
    """The files whose path contains one of the words, in the words' order."""
    if not words:
        return sorted(files)
    found = []
    for word in words:
        found += [file for file in sorted(files) if word in file and file not in found]
    return found


def run_mutants(tree, env, out, which, tests, seconds):
    """One run of cargo-mutants. The mutants, by outcome."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [
        "cargo", "mutants", "--in-place", "--package", "duologue-core", *which,
        "--timeout", str(seconds), "--build-timeout", "300", "--baseline", "skip", "--cap-lints", "true",
        "--no-shuffle", "--caught", "--unviable", "--colors", "never", "--output", str(out),
        *tests, "--skip", "every_transition_cause",
    ]  # fmt: skip
    with (out / "log").open("w") as log:
        done = subprocess.run(command, cwd=tree, env=env, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode not in (0, 2, 3):  # all caught, some missed, some timed out
        sys.exit(f"cargo-mutants failed:\n{(out / 'log').read_text()[-2000:]}")
    results = {}
    for outcome in ("caught", "missed", "timeout", "unviable"):
        path = out / "mutants.out" / f"{outcome}.txt"
        results[outcome] = path.read_text().splitlines() if path.exists() else []
    return results


def run_file(tree, work, env, file, seconds, quick):
    """Mutates one file; what the quick run did not catch is tried again thoroughly. The mutants, by outcome."""
    out = work / "results" / file.replace("/", "-")
    # The driver's own tests are the slowest, and know little about the rest.
    driver = ["--test", "driver", "--test", "driver_calls"] if file.endswith("driver.rs") else []
    own = ["--test-package", "duologue-core", "--", "--offline", "--lib", *driver, "--"]
    everything = ["--test-package", "duologue-core", "--test-package", "duologue-tests"]
    everything += ["--", "--offline", "--lib", "--test", "all", *driver, "--"]
    began = time.monotonic()
    # The session has no tests of its own but those of the other package.
    first = everything if "session" in file else own
    results = run_mutants(tree, {**env, **QUICK}, out, ["--file", file], first, seconds)
    if results["missed"] and not quick:
        which = ["--file", file]
        for mutant in results["missed"]:
            which += ["--re", f"^{re.escape(mutant)}$"]
        second = run_mutants(tree, {**env, **THOROUGH}, out / "again", which, everything, 4 * seconds)
        results["missed"] = second["missed"]
        for outcome in ("caught", "timeout"):
            results[outcome] += second[outcome]
    results["seconds"] = round(time.monotonic() - began)
    (out / "results.json").write_text(json.dumps(results, indent=1))
    return results


def accepted():
    """The mutants that are known to survive, each with its reason in `docs/mutants.md`."""
    path = HERE / "accepted.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def name(mutant):
    """A mutant's line without its position, which every edit moves."""
    return re.sub(r":\d+:\d+:", ":", mutant)


def main():
    parser = argparse.ArgumentParser(description="Mutation testing of the core.")
    parser.add_argument("words", nargs="*", help="files whose path contains one of these words")
    parser.add_argument("--minutes", type=float, default=600, help="stop after this time, between two files")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for the tests of one mutant")
    parser.add_argument("--quick", action="store_true", help="no run without a mutant, and no second pass: a first look")
    parser.add_argument("--in", dest="folder", type=Path, help="work and keep everything there")
    parser.add_argument("--list", action="store_true", help="count the mutants of each file and do nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        work = options.folder or Path(temporary)
        tree, env = work / "tree", environment(work)
        shutil.rmtree(tree, ignore_errors=True)
        make_tree(tree)
        files = mutants_of(tree, env)
        if options.list:
            for file in chosen(files, options.words):
                print(f"{len(files[file]):5} {file}")
            return 0
        baseline = ["cargo", "test", "--offline", "-q", "-p", "duologue-core", "-p", "duologue-tests"]
        baseline += ["--lib", "--tests", "--", "--skip", "every_transition_cause"]
        if not options.quick:
            print("without a mutant ...", flush=True)
            subprocess.run(baseline, cwd=tree, env={**env, **QUICK}, stdout=subprocess.DEVNULL, check=True, timeout=900)
        end = time.monotonic() + 60 * options.minutes
        bad = []
        for file in chosen(files, options.words):
            if time.monotonic() > end:
                print(f"not reached: {file} ({len(files[file])} mutants)")
                continue
            results = run_file(tree, work, env, file, options.timeout, options.quick)
            counts = ", ".join(f"{len(results[key])} {key}" for key in ("caught", "missed", "timeout", "unviable"))
            print(f"{file}: {counts} of {len(files[file])} in {results['seconds']} s", flush=True)
            for outcome in ("missed", "timeout"):
                for mutant in results[outcome]:
                    known = name(mutant) in accepted()
                    print(f"  {outcome}: {mutant}{' (accepted)' if known else ''}", flush=True)
                    if not known:
                        bad.append(mutant)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
