"""Makes the PyTorch files of tests/nn/torch.rs, each beside the same tensors in safetensors, and the corpus of the fuzzer.

    python3 -m venv venv && venv/bin/pip install torch safetensors
    venv/bin/python cryptgpu-core/tests/data/torch/make.py
"""

import collections
import os
import pathlib
import pickle
import shutil

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
FUZZ = HERE.parents[3] / "fuzz" / "corpus" / "torch"


def tensors():
    """Views, types, strides and shared storages, as state dicts have them."""
    torch.manual_seed(20261128)
    base = torch.randn(6, 4)
    tensors = collections.OrderedDict()
    tensors["conv.weight"] = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    tensors["fc.weight"] = torch.nn.Parameter(torch.randn(5, 2).t())
    tensors["rows.weight"], tensors["columns.weight"] = base[1:3], base[:, 1:4:2]
    tensors["tied.weight"] = base
    tensors["half.weight"] = torch.randn(7).half()
    tensors["bfloat.weight"] = torch.randn(3).bfloat16()
    tensors["double.weight"] = torch.randn(2, 1, 3).double()
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["indices"] = torch.arange(300)
    tensors["mask"] = torch.tensor([True, False])
    tensors["bytes"] = torch.arange(4, dtype=torch.uint8)
    tensors["bn.num_batches_tracked"] = torch.tensor(7)
    return tensors


class Attack:
    """What a pickle can do to who loads it."""

    def __reduce__(self):
        return os.system, ("echo executed > executed-by-a-pickle",)


def main():
    all_ = tensors()
    save_file({name: value.detach().contiguous().clone() for name, value in all_.items()}, HERE / "all.safetensors")
    torch.save(all_, HERE / "zip.pt")
    torch.save(all_, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    state = {"epoch": 3, "loss": 0.5, "best": None, "lr": [0.1, 0.01], "state_dict": all_}
    torch.save(state, HERE / "checkpoint.pt")
    torch.save(state, HERE / "checkpoint-protocol-4.pt", pickle_protocol=4)
    layers = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save(layers.state_dict(), HERE / "module.pt")
    save_file(layers.state_dict(), HERE / "module.safetensors")

    refused = HERE / "refused"
    refused.mkdir(exist_ok=True)
    torch.save(layers, refused / "whole-module.pt")
    torch.save({"fc.weight": Attack()}, refused / "attack-zip.pt")
    torch.save({"fc.weight": Attack()}, refused / "attack-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"wide": torch.zeros(1).expand(1 << 40)}, refused / "expanded.pt")
    torch.save([1, 2], refused / "no-dict.pt")
    (refused / "no-torch.pt").write_bytes(pickle.dumps({"fc.weight": [1.0]}))

    FUZZ.mkdir(exist_ok=True)
    for path in (HERE / "zip.pt", HERE / "legacy.pth", HERE / "checkpoint-protocol-4.pt", refused / "expanded.pt",
                 refused / "attack-zip.pt"):
        shutil.copy(path, FUZZ / path.stem)


if __name__ == "__main__":
    main()
