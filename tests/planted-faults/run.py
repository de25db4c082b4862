#!/usr/bin/env python3
"""Plants known faults, one at a time, and sees that the tests fail for each.

Every file in `faults/` is one fault:

    law: the law that it breaks
    file: the file that it is planted in
    test: the test binary that must kill it (laws, exhaustive, scenarios,
          behaviours, chunking, allocation, core for the core's unit tests,
          or one of another package: duologue-http1:lib, duologue-laws:model)
    why: what it would do to somebody
    --- find
    the text, which must stand there exactly once
    --- replace
    what it becomes

The tree is copied to a temporary folder with only the core, the protocols and the kit in its workspace. A fault is killed when a test
fails by an assertion. It survives if the tests pass, or if they only hang; a fault that does not compile, or whose text
is not found exactly once, is an error of this list.

    run.py              all faults; exit code 1 if any survives
    run.py --only NAME  those whose name contains NAME
    run.py --list       names and laws
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TIME_LIMIT = 240

# Enough scripts to kill every fault of the list, on every seed tried, in seconds.
ENVIRONMENT = {"DUOLOGUE_CASES": "1200", "DUOLOGUE_DEPTH": "4", "DUOLOGUE_STATES": "4000", "RUST_BACKTRACE": "0"}

TESTS_MANIFEST = """\
[package]
name = "duologue-tests"
version = "0.0.0"
edition = "2024"

[dependencies]
bytes.workspace = true
duologue-core.workspace = true

[dev-dependencies]
duologue-laws.workspace = true
"""


class Fault:
    """One planted fault."""

    def __init__(self, path):
        self.name = path.stem
        head, _, body = path.read_text().partition("--- find\n")
        fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        find, mark, replace = body.partition("--- replace\n")
        missing = [key for key in ("law", "file", "test", "why") if key not in fields]
        if missing or not find or not mark:
            sys.exit(f"{path.name}: incomplete ({', '.join(missing) or 'find and replace'})")
        self.law, self.file, self.test = fields["law"], fields["file"], fields["test"]
        self.find, self.replace = find.rstrip("\n"), replace.rstrip("\n")

    def plant(self, tree):
        """Writes the fault into the tree and returns the file with its text as it was."""
        path = tree / self.file
        text = path.read_text()
        found = text.count(self.find)
        if found != 1:
            sys.exit(f"{self.name}: its text stands {found} times in {self.file}, and must stand there once")
        path.write_text(text.replace(self.find, self.replace))
        return path, text


def copy_tree(tree):
    """The pure crates and the kit as a workspace of their own: quick to build, and adapters have no part in it."""
    protocols = sorted(f"protocols/{path.parent.name}" for path in ROOT.glob("protocols/*/Cargo.toml"))
    for folder in ("core", "tests/laws", *protocols):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("target"))
    (tree / "tests/src").mkdir(parents=True)
    (tree / "tests/src/lib.rs").write_text("")
    (tree / "tests/Cargo.toml").write_text(TESTS_MANIFEST)
    (tree / "tests/tests").mkdir()
    for name in ("laws", "exhaustive", "scenarios", "behaviours", "chunking", "allocation"):
        shutil.copy(ROOT / f"tests/tests/{name}.rs", tree / "tests/tests")
    for folder in ("pump", "snapshots"):
        shutil.copytree(ROOT / "tests/tests" / folder, tree / "tests/tests" / folder)
    manifest = (ROOT / "Cargo.toml").read_text()
    members = re.compile(r"^members = \[[^\]]*\]", re.MULTILINE)
    listed = ", ".join(f'"{member}"' for member in ("core", "tests", "tests/laws", *protocols))
    manifest, replaced = members.subn(f"members = [{listed}]", manifest)
    if replaced != 1:
        sys.exit("the workspace's members were not found in Cargo.toml")
    (tree / "Cargo.toml").write_text(manifest)
    lock = ROOT / "Cargo.lock"
    if lock.exists():
        shutil.copy(lock, tree)


def command(test, extra=()):
    """The call of cargo that runs one test binary."""
    if test == "core":
        return ["cargo", "test", "--offline", "-q", "-p", "duologue-core", "--lib", *extra]
    package, _, binary = test.rpartition(":")
    which = ["--lib"] if binary == "lib" else ["--test", binary]
    return ["cargo", "test", "--offline", "-q", "-p", package or "duologue-tests", *which, *extra]


def run(tree, target, test):
    """Runs one test binary and tells how it went: passed, failed, hangs or broken."""
    environment = {**os.environ, **ENVIRONMENT, "CARGO_TARGET_DIR": str(target)}
    environment.pop("UPDATE", None)
    built = subprocess.run(command(test, ["--no-run"]), cwd=tree, env=environment, capture_output=True, text=True)
    if built.returncode:
        return "broken", built.stderr
    try:
        done = subprocess.run(
            command(test), cwd=tree, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired:
        return "hangs", ""
    output = done.stdout + done.stderr
    if done.returncode == 0:
        return "passed", output
    return ("failed" if "test result: FAILED" in output else "broken"), output


def reason(output):
    """The first line that says what was found."""
    for line in output.splitlines():
        if " breaks L" in line or line.startswith(("assertion", "never reached")) or "is not current" in line:
            return line.strip()[:110]
    lines = [line for line in output.splitlines() if line.strip() and "panicked at" not in line]
    found = [i for i, line in enumerate(output.splitlines()) if "panicked at" in line]
    return output.splitlines()[found[0] + 1].strip()[:110] if found else (lines[-1][:110] if lines else "")


def main():
    parser = argparse.ArgumentParser(description="Plants known faults and sees that the tests fail for each.")
    parser.add_argument("--only", metavar="NAME", help="only faults whose name contains NAME")
    parser.add_argument("--list", action="store_true", help="list the faults and do nothing")
    options = parser.parse_args()
    faults = [Fault(path) for path in sorted((HERE / "faults").glob("*.txt"))]
    faults = [fault for fault in faults if not options.only or options.only in fault.name]
    if options.list:
        for fault in faults:
            print(f"{fault.name:42} {fault.law:22} {fault.test:11} {fault.file}")
        return 0
    if not faults:
        sys.exit("no such fault")
    start = time.monotonic()
    survivors = []
    with tempfile.TemporaryDirectory(prefix="planted-faults-") as folder:
        tree, target = Path(folder) / "tree", Path(folder) / "target"
        tree.mkdir()
        copy_tree(tree)
        for test in sorted({fault.test for fault in faults}):
            print(f"without a fault: {test} ...", end=" ", flush=True)
            how, output = run(tree, target, test)
            print(how)
            if how != "passed":
                sys.exit(output[-4000:])
        for number, fault in enumerate(faults, 1):
            print(f"[{number}/{len(faults)}] {fault.name} ...", end=" ", flush=True)
            path, text = fault.plant(tree)
            began = time.monotonic()
            try:
                how, output = run(tree, target, fault.test)
            finally:
                path.write_text(text)
            if how == "broken":
                sys.exit(f"\n{fault.name} does not compile or crashed its test:\n{output[-4000:]}")
            killed = how == "failed"
            if not killed:
                survivors.append(fault.name)
            found = reason(output) if killed else f"the tests {'pass' if how == 'passed' else 'hang'}"
            print(f"{'killed' if killed else 'SURVIVED'} in {time.monotonic() - began:.1f} s: {found}", flush=True)
    killed = len(faults) - len(survivors)
    print(f"{killed} of {len(faults)} killed in {time.monotonic() - start:.0f} s")
    for name in survivors:
        print(f"survived: {name}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
