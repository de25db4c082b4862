#!/usr/bin/env python3
"""Plants known faults, one at a time, and sees that the tests fail for each.

Every file in `faults/` is one fault:

    law: the law that it breaks
    file: the file that it is planted in
    test: the test binary that must kill it (laws, exhaustive, scenarios,
          behaviours, chunking, allocation, core for the core's unit tests,
          or one of another package: duologue-http1:lib, duologue-laws:model,
          duologue-async:halves, duologue-tests:sockets_server)
    only: the one test of it that is run, where others would wait long for what never comes (optional)
    why: what it would do to somebody
    --- find
    the text, which must stand there exactly once
    --- replace
    what it becomes

The tree is copied to a temporary folder with only the core, the protocols, the adapters and the kit in its workspace,
and two packages of tests: one that builds the pure crates only, and one with the runtimes. A fault is killed when a
test fails by an assertion. It survives if the tests pass, or if they only hang; a fault that does not compile, or whose
text is not found exactly once, is an error of this list.

    run.py              all faults; exit code 1 if any survives
    run.py --only NAME  those whose name contains NAME
    run.py --workers N  so many at a time (as many as there are processors), each in a tree of its own
    run.py --list       names and laws
    run.py --check      sees that each has its place in the code, and does nothing
"""

import argparse
import collections
import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TIME_LIMIT = 240

# Enough scripts to kill every fault of the list, on every seed tried, in seconds.
ENVIRONMENT = {
    "DUOLOGUE_CASES": "1200",
    "DUOLOGUE_DEPTH": "4",
    "DUOLOGUE_STATES": "4000",
    # One failure is enough: nobody reads the smallest input of a planted fault.
    "PROPTEST_MAX_SHRINK_ITERS": "0",
    "RUST_BACKTRACE": "0",
    # With more than one, a test's verdict is one line, whatever the test printed.
    "RUST_TEST_THREADS": "2",
    # What a fault does not touch is not compiled again: less than half the time.
    "CARGO_INCREMENTAL": "1",
}

# How the test harness says that one test failed.
FAILED = re.compile(r"^test .* \.\.\. FAILED$|^test result: FAILED")

# The binaries that need nothing but pure crates. All others of duologue-tests are built with the runtimes.
PURE_TESTS = ("laws", "exhaustive", "scenarios", "behaviours", "chunking", "allocation")

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

# What the tests on sockets use; neither TLS nor the peers of the protocols, which take longest to build.
RUNTIME_TESTS_MANIFEST = """\
[package]
name = "duologue-runtime-tests"
version = "0.0.0"
edition = "2024"

[lib]
name = "duologue_tests"

[dependencies]
bytes.workspace = true
duologue-core.workspace = true
duologue-tokio.workspace = true
tokio = { workspace = true, features = ["net", "rt-multi-thread", "macros", "time", "io-util", "sync"] }

[dev-dependencies]
duologue-async = { workspace = true, features = ["streams"] }
duologue-http1.workspace = true
duologue-sim.workspace = true
duologue-smol.workspace = true
duologue-yamux.workspace = true
futures-util = { workspace = true, features = ["async-await-macro", "channel", "io", "sink", "std"] }
smol.workspace = true
socket2.workspace = true
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
        self.only = fields.get("only")
        self.find, self.replace = find.rstrip("\n"), replace.rstrip("\n")

    def problem(self):
        """What keeps it from being planted: its text must stand in its file, once."""
        path = ROOT / self.file
        if not path.is_file():
            return f"{self.name}: there is no {self.file}"
        found = path.read_text().count(self.find)
        return f"{self.name}: its text stands {found} times in {self.file}, and must stand there once" if found != 1 else None

    def plant(self, tree):
        """Writes the fault into the tree and returns the file with its text as it was."""
        path = tree / self.file
        text = path.read_text()
        path.write_text(text.replace(self.find, self.replace))
        return path, text


def copy_tree(tree):
    """The pure crates, the adapters and the kit as a workspace of their own; what no fault's test needs is never built."""
    crates = [
        str(path.parent.relative_to(ROOT))
        for folder in ("protocols", "adapters")
        for path in sorted(ROOT.glob(f"{folder}/*/Cargo.toml"))
    ]
    for folder in ("core", "tests/laws", *crates):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("target"))
    # The peers that its tests run, and what its examples use: not needed for its unit tests, and long to build.
    tokio = tree / "adapters/tokio/Cargo.toml"
    tokio.write_text(re.sub(r"^\[dev-dependencies\]\n(.+\n)*", "", tokio.read_text(), flags=re.MULTILINE))

    (tree / "tests/src").mkdir(parents=True)
    (tree / "tests/src/lib.rs").write_text("")
    (tree / "tests/Cargo.toml").write_text(TESTS_MANIFEST)
    (tree / "tests/tests").mkdir()
    for name in PURE_TESTS:
        shutil.copy(ROOT / f"tests/tests/{name}.rs", tree / "tests/tests")
    for folder in ("pump", "snapshots"):
        shutil.copytree(ROOT / "tests/tests" / folder, tree / "tests/tests" / folder)

    (tree / "tests/runtimes/src").mkdir(parents=True)
    (tree / "tests/runtimes/Cargo.toml").write_text(RUNTIME_TESTS_MANIFEST)
    (tree / "tests/runtimes/src/lib.rs").write_text("pub mod sockets;\n")
    shutil.copy(ROOT / "tests/src/sockets.rs", tree / "tests/runtimes/src")
    shutil.copytree(ROOT / "tests/tests", tree / "tests/runtimes/tests")

    manifest = (ROOT / "Cargo.toml").read_text()
    members = re.compile(r"^members = \[[^\]]*\]", re.MULTILINE)
    folders = ("core", "tests", "tests/laws", "tests/runtimes", *crates)
    manifest, replaced = members.subn("members = [" + ", ".join(f'"{folder}"' for folder in folders) + "]", manifest)
    if replaced != 1:
        sys.exit("the workspace's members were not found in Cargo.toml")
    (tree / "Cargo.toml").write_text(manifest)
    lock = ROOT / "Cargo.lock"
    if lock.exists():
        shutil.copy(lock, tree)


def command(test, extra=()):
    """The call of cargo that runs one test binary."""
    if test == "core":
        return ["cargo", "test", "--offline", "-p", "duologue-core", "--lib", *extra]
    package, _, binary = test.rpartition(":")
    which = ["--lib"] if binary == "lib" else ["--test", binary]
    if package in ("", "duologue-tests"):
        package = "duologue-tests" if binary in PURE_TESTS else "duologue-runtime-tests"
    return ["cargo", "test", "--offline", "-p", package, *which, *extra]


def run(tree, target, test, only):
    """Runs one test binary, or one test of it, and tells how it went: passed, failed, hangs or broken."""
    environment = {**os.environ, **ENVIRONMENT, "CARGO_TARGET_DIR": str(target)}
    environment.pop("UPDATE", None)
    built = subprocess.run(command(test, ["--no-run"]), cwd=tree, env=environment, capture_output=True, text=True)
    if built.returncode:
        return "broken", built.stderr
    return watched(command(test, ["--", "--nocapture", *(["--exact", only] if only else [])]), tree, environment, only)


def watched(arguments, tree, environment, only):
    """Runs tests until the first of them failed: the others would say nothing more."""
    process = subprocess.Popen(
        arguments,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    late = threading.Event()

    def stop():
        # Cargo and its child: a group of their own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def stop_late():
        late.set()
        stop()

    limit = threading.Timer(TIME_LIMIT, stop_late)
    limit.start()
    lines, failed = [], False
    try:
        for line in process.stdout:
            lines.append(line)
            if FAILED.search(line):
                failed = True
                break
    finally:
        limit.cancel()
        if failed:
            stop()
        process.stdout.close()
        process.wait()
    output = "".join(lines)
    if failed:
        return "failed", output
    if late.is_set():
        return "hangs", ""
    if process.returncode == 0:
        return ("passed" if not only or "1 passed" in output else "broken"), output
    return "broken", output


def reason(output):
    """The first line that says what was found."""
    for line in output.splitlines():
        if " breaks L" in line or line.startswith(("assertion", "never reached")) or "is not current" in line:
            return line.strip()[:110]
    lines = [line for line in output.splitlines() if line.strip() and "panicked at" not in line]
    found = [i for i, line in enumerate(output.splitlines()) if "panicked at" in line]
    return output.splitlines()[found[0] + 1].strip()[:110] if found else (lines[-1][:110] if lines else "")


class Run:
    """The faults that are left, and what was found so far: shared by the workers."""

    def __init__(self, faults):
        # Neighbours touch the same crate: a worker at each end builds little anew between two faults.
        self.left = collections.deque(sorted(faults, key=lambda fault: (fault.file, fault.test, fault.name)))
        self.total = len(faults)
        self.done = 0
        self.survivors, self.error = [], None
        self.lock = threading.Lock()

    def next(self, from_the_end):
        with self.lock:
            if self.error or not self.left:
                return None
            return self.left.pop() if from_the_end else self.left.popleft()

    def fail(self, error):
        with self.lock:
            self.error = self.error or error

    def report(self, fault, how, output, seconds):
        killed = how == "failed"
        found = reason(output) if killed else f"the tests {'pass' if how == 'passed' else 'hang'}"
        with self.lock:
            self.done += 1
            if not killed:
                self.survivors.append(fault.name)
            verdict = "killed" if killed else "SURVIVED"
            print(f"[{self.done}/{self.total}] {fault.name} {verdict} in {seconds:.1f} s: {found}", flush=True)


def work(folder, run_of, from_the_end):
    """Plants one fault after the other in a tree of its own."""
    tree, target = folder / "tree", folder / "target"
    tree.mkdir(parents=True)
    copy_tree(tree)
    sound = set()
    while fault := run_of.next(from_the_end):
        # A test that fails by itself kills nothing.
        if (fault.test, fault.only) not in sound:
            how, output = run(tree, target, fault.test, fault.only)
            if how != "passed":
                return run_of.fail(f"without a fault: {fault.test} {fault.only or ''} {how}\n{output[-4000:]}")
            sound.add((fault.test, fault.only))
            print(f"without a fault: {fault.test} {fault.only or ''} {how}", flush=True)
        began = time.monotonic()
        path, text = fault.plant(tree)
        try:
            how, output = run(tree, target, fault.test, fault.only)
        finally:
            path.write_text(text)
        if how == "broken":
            return run_of.fail(f"{fault.name} does not compile or crashed its test:\n{output[-4000:]}")
        run_of.report(fault, how, output, time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(description="Plants known faults and sees that the tests fail for each.")
    parser.add_argument("--only", metavar="NAME", help="only faults whose name contains NAME")
    parser.add_argument("--list", action="store_true", help="list the faults and do nothing")
    parser.add_argument("--check", action="store_true", help="see that each has its place in the code, and do nothing")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="faults tried at a time")
    options = parser.parse_args()
    faults = [Fault(path) for path in sorted((HERE / "faults").glob("*.txt"))]
    faults = [fault for fault in faults if not options.only or options.only in fault.name]
    if options.list:
        for fault in faults:
            print(f"{fault.name:42} {fault.law:22} {fault.test:11} {fault.file}")
        return 0
    if not faults:
        sys.exit("no such fault")
    problems = [problem for problem in (fault.problem() for fault in faults) if problem]
    if problems:
        sys.exit("\n".join(problems))
    if options.check:
        print(f"{len(faults)} faults, each with its one place")
        return 0
    start = time.monotonic()
    run_of = Run(faults)
    workers = max(1, min(options.workers, len(faults)))
    with tempfile.TemporaryDirectory(prefix="planted-faults-") as folder:
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            folders = [Path(folder) / str(number) for number in range(workers)]
            working = [pool.submit(work, place, run_of, number % 2 == 1) for number, place in enumerate(folders)]
        for worker in working:
            worker.result()
    if run_of.error:
        sys.exit(run_of.error)
    killed = len(faults) - len(run_of.survivors)
    print(f"{killed} of {len(faults)} killed in {time.monotonic() - start:.0f} s")
    for name in run_of.survivors:
        print(f"survived: {name}")
    return 1 if run_of.survivors else 0


if __name__ == "__main__":
    sys.exit(main())
