"""PyTorch as the engine of the experiments in the clear, on a CPU or a card: `cryptgpu-trainer … --engine torch` starts this
program and talks to it by its standard input and output (`src/torch.rs`). A message is a line of JSON and behind it the values of
the tensors whose shapes it states, 32-bit floats in row-major order. Single precision is single precision: TF32 is off."""

import json
import math
import sys

import torch
from torch.nn import functional as F

# Computed by one function each, as PyTorch computes them.
LOSSES = {
    "cross_entropy": lambda results, targets: -(F.log_softmax(results, 1) * targets).sum(),
    "mean_squared_error": lambda results, targets: ((results - targets) ** 2).sum() / results.shape[1],
}


class Network:
    """A graph of the core's with its weights; `training` is the core's `Train`."""

    def __init__(self, graph, weights, device, frozen):
        self.graph, self.device = graph, device
        self.weights = {name: tensor.to(device) for name, tensor in weights.items()}
        for name, tensor in self.weights.items():
            node = name.rpartition(".")[0]
            moves = "running" not in name and not any(node == one or node.startswith(one + ".") for one in frozen)
            tensor.requires_grad_(moves)

    def results(self, images, training):
        values = [images]
        for name, op, inputs in self.graph["nodes"]:
            values.append(self.node(name, op, [values[one] for one in inputs], training))
        return values[self.graph["output"]].flatten(1)

    def node(self, name, op, inputs, training):
        kind, about = (op, {}) if isinstance(op, str) else next(iter(op.items()))
        x = inputs[0]
        own = {part: self.weights.get(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")}
        match kind:
            case "conv2d":
                window = about["window"]
                x = padded(x, window, 0.0)
                return F.conv2d(x, own["weight"], own["bias"], window["stride"], 0, window["dilation"], about["groups"])
            case "linear":
                return F.linear(x, own["weight"], own["bias"])
            case "batch_norm2d":
                return F.batch_norm(x, own["running_mean"], own["running_var"], own["weight"], own["bias"], training, 0.1, about["eps"])
            case "relu":
                return F.relu(x)
            case "relu6":
                return F.relu6(x)
            case "avg_pool":
                window = about["window"]
                if window["dilation"] != [1, 1]:
                    raise ValueError(f"{name}: PyTorch's average pooling knows no dilation")
                return F.avg_pool2d(padded(x, window, 0.0), window["kernel"], window["stride"])
            case "max_pool":
                window = about["window"]
                return F.max_pool2d(padded(x, window, -math.inf), window["kernel"], window["stride"], 0, window["dilation"])
            case "global_avg_pool":
                return x.mean((2, 3), keepdim=True)
            case "add":
                return sum(inputs[1:], x)
            case "concat":
                return torch.cat(inputs, 1)
            case "flatten":
                return x.flatten(1)
        raise ValueError(f"{name}: this engine does not know {kind}")


def padded(x, window, value):
    top, bottom, left, right = window["padding"]
    return F.pad(x, (left, right, top, bottom), value=value) if any(window["padding"]) else x


class Engine:
    def begin(self, about, tensors):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.device = torch.device(about["device"])
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("PyTorch finds no card, or is built without CUDA: torch.cuda.is_available() is false")
        train = about["train"]
        named = dict(zip(about["weights"], tensors))
        self.net = Network(about["graph"], named, self.device, train["frozen"])
        moving = [tensor for tensor in self.net.weights.values() if tensor.requires_grad]
        self.loss = LOSSES[train["loss"]]
        sgd = train["sgd"]
        settings = {"momentum": sgd["momentum"], "weight_decay": sgd["weight_decay"], "nesterov": sgd["nesterov"]}
        self.optimizer = torch.optim.SGD(moving, lr=sgd["rate"], **settings) if moving else None
        card = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        return {"version": torch.__version__.partition("+")[0], "card": card, "threads": torch.get_num_threads()}, []

    def step(self, about, tensors):
        """One iteration; gives the mean of the losses before it, which on a card waits for it."""
        images, targets = (tensor.to(self.device) for tensor in tensors)
        for group in self.optimizer.param_groups:
            group["lr"] = about["rate"]
        self.optimizer.zero_grad()
        loss = self.loss(self.net.results(images, training=True), targets) / len(images)
        loss.backward()
        self.optimizer.step()
        value = loss.item()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return {"loss": value}, []

    def scores(self, _about, tensors):
        with torch.no_grad():
            return {}, [self.net.results(tensors[0].to(self.device), training=False).cpu()]


def read(stream):
    """The next message, or none at the end."""
    line = stream.readline()
    if not line:
        return None
    about, tensors = json.loads(line), []
    for shape in about["shapes"]:
        values = bytearray(4 * math.prod(shape))
        if stream.readinto(values) != len(values):
            raise EOFError("a message ends early")
        tensors.append(torch.frombuffer(values, dtype=torch.float32).reshape(shape) if values else torch.zeros(shape))
    return about, tensors


def answer(stream, about, tensors):
    about["shapes"] = [list(tensor.shape) for tensor in tensors]
    stream.write(json.dumps(about).encode() + b"\n")
    for tensor in tensors:
        stream.write(tensor.contiguous().numpy().tobytes())
    stream.flush()


def main():
    engine, requests, answers = Engine(), sys.stdin.buffer, sys.stdout.buffer
    # What a library prints must not come between answers.
    sys.stdout = sys.stderr
    while (message := read(requests)) is not None:
        about, tensors = message
        try:
            answer(answers, *getattr(engine, {"begin": "begin", "step": "step", "scores": "scores"}[about["do"]])(about, tensors))
        except (RuntimeError, ValueError, KeyError) as error:
            answer(answers, {"error": f"{type(error).__name__}: {error}"}, [])


if __name__ == "__main__":
    main()
