"""Cuts what `cargo metadata` says of a kernel's crate (standard input) down to the crates that a cell's variables have types
of (standard output). `scripts/kernel-template` says why. A type of a crate that is left out has to be written by who needs it:
evcxr then asks for `let x: Type = …`."""

import json
import sys

# Besides our own crates.
KEPT = {
    *("ndarray", "num-complex", "num-traits", "serde", "serde_core", "serde_json", "tokio", "plotters", "plotters-backend"),
    *("polars", "polars-arrow", "polars-buffer", "polars-core", "polars-dtype", "polars-error", "polars-lazy", "polars-plan"),
    *("polars-schema", "polars-utils"),
}


def main():
    graph = json.load(sys.stdin)
    kept = {
        package["id"]
        for package in graph["packages"]
        if package["name"] in KEPT or package["name"] == "ctx" or package["name"].split("-")[0] == "cryptgpu"
    }
    graph["packages"] = [package for package in graph["packages"] if package["id"] in kept]
    graph["resolve"]["nodes"] = [node for node in graph["resolve"]["nodes"] if node["id"] in kept]
    for node in graph["resolve"]["nodes"]:
        node["deps"] = [one for one in node["deps"] if one["pkg"] in kept]
        node["dependencies"] = [one for one in node["dependencies"] if one in kept]
    json.dump(graph, sys.stdout)


if __name__ == "__main__":
    main()
