"""NumPy's side of tests/prg/philox_numpy.rs: reads scripts as JSON, runs them, writes what came out.

Every operation answers {"out": list of integers (bit patterns for floats) or null when NumPy
refuses, "state": the bit generator's state}.
"""

import json
import sys

import numpy as np


def entropy(value):
    return [entropy(v) for v in value] if isinstance(value, list) else int(value)


def bits(array):
    array = np.asarray(array)
    if array.dtype == np.float64:
        array = array.view(np.uint64)
    elif array.dtype == np.float32:
        array = array.view(np.uint32)
    return [int(x) for x in array.ravel()]


def run(rng, op):
    kind, shape = op["op"], tuple(op.get("shape", ()))
    if kind == "raw":
        return rng, rng.bit_generator.random_raw(shape)
    if kind == "random":
        return rng, rng.random(shape)
    if kind == "random_f32":
        return rng, rng.random(shape, dtype=np.float32)
    if kind == "standard_normal":
        return rng, rng.standard_normal(shape)
    if kind == "normal":
        return rng, rng.normal(float(op["loc"]), float(op["scale"]), shape)
    if kind == "uniform":
        return rng, rng.uniform(float(op["low"]), float(op["high"]), shape)
    if kind == "integers":
        low, high, dtype = int(op["low"]), int(op["high"]), np.dtype(op["dtype"])
        if op["scalar"]:
            return rng, [rng.integers(low, high, dtype=dtype, endpoint=True) for _ in range(shape[0])]
        return rng, rng.integers(low, high, shape, dtype=dtype, endpoint=True)
    if kind == "bytes":
        return rng, list(rng.bytes(op["n"]))
    if kind == "permutation":
        return rng, rng.permutation(op["n"])
    if kind == "shuffle":
        items = list(range(op["n"]))
        rng.shuffle(items)
        return rng, items
    if kind == "shuffle_axis":
        items = np.arange(np.prod(shape)).reshape(shape)
        rng.shuffle(items, axis=op["axis"])
        return rng, items
    if kind == "permuted_copy":
        return rng, rng.permutation(np.arange(np.prod(shape)).reshape(shape), axis=op["axis"])
    if kind == "choice":
        p = op["p"] and [float(x) for x in op["p"]]
        return rng, rng.choice(op["n"], shape, replace=op["replace"], p=p, shuffle=op["shuffle"])
    if kind == "advance":
        rng.bit_generator.advance(int(op["delta"]))
        return rng, []
    if kind == "jumped":
        return np.random.Generator(rng.bit_generator.jumped(int(op["jumps"]))), []
    if kind == "spawn":
        return rng.spawn(op["n"])[-1], []
    if kind == "state":
        # Plain lists make no state of NumPy's; arrays do.
        state = op["state"]
        state["state"] = {k: np.array(v, dtype=np.uint64) for k, v in state["state"].items()}
        state["buffer"] = np.array(state["buffer"], dtype=np.uint64)
        rng.bit_generator.state = state
        return rng, []
    raise SystemExit(f"unknown operation {kind}")


def answer(script):
    seeds = np.random.SeedSequence(
        entropy(script["entropy"]), spawn_key=entropy(script["spawn_key"]), pool_size=script["pool_size"]
    )
    # As an array: NumPy takes a list with words above 2**63 through floats.
    counter = np.array([int(c) for c in script["counter"]], dtype=np.uint64)
    rng = np.random.Generator(np.random.Philox(seeds, counter=counter))
    answers = []
    for op in script["ops"]:
        try:
            rng, out = run(rng, op)
            out = bits(out)
        except (ValueError, OverflowError, TypeError):
            out = None
        answers.append({"out": out, "state": rng.bit_generator.state})
    return answers


json.dump([answer(s) for s in json.load(sys.stdin)], sys.stdout, default=lambda a: a.tolist())
