#!/usr/bin/env python3
"""Checks that no package in Cargo.lock asks for a newer Rust than the one given as the first argument."""

import json
import subprocess
import sys


def parts(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def main() -> int:
    oldest = sys.argv[1]
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    )
    packages = metadata["packages"]
    silent = [package for package in packages if not package["rust_version"]]
    newer = [
        package
        for package in packages
        if package["rust_version"] and parts(package["rust_version"]) > parts(oldest)
    ]
    for package in newer:
        print(f"{package['name']} {package['version']} needs Rust {package['rust_version']}, more than {oldest}")
    print(f"{len(packages)} packages: {len(newer)} need more than Rust {oldest}, {len(silent)} do not say what they need")
    return 1 if newer else 0


if __name__ == "__main__":
    sys.exit(main())
