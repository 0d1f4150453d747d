"""Puts the node tests that the package onnx ships into the form of networks: the first input stays the secret one, and all others
become constants, as they are in exported networks. Where an operator is of each element by itself, a list of numbers becomes a
batch of one.

    onnx_node_tests.py FOLDER

Writes NAME.onnx, NAME.x.npy and NAME.y.npy for every test, light-NAME.onnx for the package's light models, and
tests.json: what each test is of, and why it is no network where it is none. The test `node_tests` of the core reads them."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
# Of each element by itself: a list of numbers is as well a batch of one.
OF_EACH = set(
    "Abs Acos Acosh Add Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity "
    "LeakyRelu Log Max Mean Min Mish Mul Neg Pow PRelu Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum "
    "Swish Tan Tanh ThresholdedRelu".split()
)


def tensor(path):
    value = onnx.TensorProto()
    value.ParseFromString(path.read_bytes())
    return value


def network(folder, target):
    """Writes the files of a test; the operators, and why it is none where it is none."""
    model = onnx.load(folder / "model.onnx")
    graph = model.graph
    operators = sorted({node.op_type for node in graph.node})
    data = folder / "test_data_set_0"
    if operators == ["LayerNormalization"]:
        # Its mean and deviation are for training.
        del graph.output[1:]
        del graph.node[0].output[1:]
    if not graph.input or len(graph.output) != 1:
        return operators, "it has no input" if not graph.input else f"it has {len(graph.output)} results"
    for value in list(graph.input) + list(graph.output):
        if not value.type.HasField("tensor_type"):
            return operators, "a sequence, an optional value or a map"
    first, others = graph.input[0], graph.input[1:]
    if first.type.tensor_type.elem_type not in FLOATS:
        return operators, "the first input is no tensor of floats"
    x = numpy_helper.to_array(tensor(data / "input_0.pb"))
    y = numpy_helper.to_array(tensor(data / "output_0.pb"))
    if x.ndim == 0 or x.size == 0 or y.size == 0:
        return operators, "no elements, or a single number"
    constants = [numpy_helper.to_array(tensor(data / f"input_{index}.pb")) for index, _ in enumerate(others, 1)]
    if x.ndim == 1 and x.shape == y.shape and OF_EACH.issuperset(operators):
        x, y = x[None], y[None]
        for value in (first, graph.output[0]):
            value.type.tensor_type.shape.dim.insert(0, onnx.TensorShapeProto.Dimension(dim_value=1))
    for value, constant in zip(others, constants):
        graph.initializer.append(numpy_helper.from_array(constant, value.name))
    del graph.input[1:]
    onnx.save(model, target / f"{folder.name}.onnx")
    np.save(target / f"{folder.name}.x.npy", np.asarray(x, np.float64))
    np.save(target / f"{folder.name}.y.npy", np.asarray(y, np.float64))
    return operators, None


def main():
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    tests = []
    for folder in sorted((data / "node").iterdir()):
        operators, why = network(folder, target)
        tests.append({"name": folder.name, "operators": operators, "why": why})
    for path in sorted((data / "light").glob("light_*.onnx")):
        (target / f"{path.stem}.onnx").write_bytes(path.read_bytes())
    (target / "tests.json").write_text(json.dumps({"version": onnx.__version__, "tests": tests}))


if __name__ == "__main__":
    main()
