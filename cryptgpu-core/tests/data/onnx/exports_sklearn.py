"""Makes the files `sklearn/*`: models that scikit-learn has trained on a few hundred of its digits, as skl2onnx exports them, with
inputs and what onnxruntime computes of them; and `refused/sklearn-*`, which have a .onnx alone.

    python3 -m venv venv && venv/bin/pip install scikit-learn skl2onnx onnxruntime onnx
    venv/bin/python cryptgpu-core/tests/data/onnx/exports_sklearn.py             # all of them
    venv/bin/python cryptgpu-core/tests/data/onnx/exports_sklearn.py forest      # one
"""

import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, RidgeClassifier, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

HERE = pathlib.Path(__file__).parent
warnings.filterwarnings("ignore")

digits, classes = load_digits(return_X_y=True)
x = (digits[:400, ::4] / 16).astype(np.float32)
classes = classes[:400]
two, words = (classes > 4).astype(int), np.array(["even", "odd", "zero"])[np.where(classes == 0, 2, classes % 2)]
targets = x @ np.random.default_rng(1).normal(size=(16, 3))

# What is fitted, to what, and the options of the export.
PLAIN = {"zipmap": False}
MODELS = {
    "logistic": (make_pipeline(StandardScaler(), LogisticRegression()), classes, None),
    "logistic-of-two": (make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), two, PLAIN),
    "logistic-of-words": (make_pipeline(PCA(6), LogisticRegression()), words, PLAIN),
    "logistic-one-by-one": (OneVsRestClassifier(LogisticRegression()), words, PLAIN),
    "linear-regression": (make_pipeline(PCA(8, whiten=True), LinearRegression()), targets, None),
    "ridge-of-two": (RidgeClassifier(), two, PLAIN),
    "linear-svc": (LinearSVC(), classes, None),
    "linear-svr": (SVR(kernel="linear"), targets[:, 0], None),
    "sgd": (make_pipeline(SimpleImputer(), RobustScaler(), SelectKBest(k=9), SGDClassifier()), classes, PLAIN),
    "mlp": (make_pipeline(StandardScaler(), MLPClassifier((12,), max_iter=60)), classes, PLAIN),
    "mlp-of-two": (MLPClassifier((8,), activation="tanh", max_iter=60), two, PLAIN),
    "mlp-of-words": (MLPClassifier((8,), activation="logistic", max_iter=60), words, None),
    "mlp-regressor": (make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8, 6), max_iter=60)), targets[:, 0], None),
    "poisson": (PoissonRegressor(), np.abs(targets[:, 0]), None),
    "rows-of-norm-one": (make_pipeline(Normalizer("l2"), LogisticRegression()), classes, PLAIN),
    "rows-by-their-sum": (make_pipeline(Normalizer("l1"), LogisticRegression(C=100)), two, PLAIN),
    "rows-by-their-largest": (make_pipeline(Normalizer("max"), LogisticRegression()), two, PLAIN),
    "naive-bayes": (MultinomialNB(), classes, PLAIN),
    "naive-bayes-of-gauss": (GaussianNB(var_smoothing=0.3), words, PLAIN),
}
REFUSED = {
    "forest": (make_pipeline(StandardScaler(), RandomForestClassifier(2, max_depth=2)), two, PLAIN),
    "kernel": (SVC(max_iter=3), two, PLAIN),
}


def scores(path, rows):
    """What the output that is no label holds."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: rows})
    last = results[-1]
    if isinstance(last, list):
        last = np.array([list(row.values()) for row in last])
    return np.asarray(last, np.float32)


def export(name, fitted, to, options, folder):
    for step in fitted.named_steps.values() if hasattr(fitted, "named_steps") else [fitted]:
        if "random_state" in step.get_params():
            step.set_params(random_state=0)
    fitted.fit(x, to)
    path = HERE / folder / f"{name}.onnx"
    onnx.save(to_onnx(fitted, x[:1], options=options), path)
    return path


def keep(name, fitted, to, options):
    path = export(name, fitted, to, options, "sklearn")
    rows = x[-3:] - np.float32(0.1)
    y = scores(path, rows)
    of = fitted.predict_proba if hasattr(fitted, "predict_proba") else getattr(fitted, "decision_function", fitted.predict)
    # As scikit-learn has it, but for norms by the largest, which ONNX takes without signs.
    assert name == "rows-by-their-largest" or np.abs(np.reshape(of(rows), y.shape) - y).max() < 1e-4, name
    np.save(path.with_suffix(".x.npy"), rows)
    np.save(path.with_suffix(".y.npy"), y)


def refused():
    """Operators for models other than networks, several in one file."""
    nodes = [
        helper.make_node("Binarizer", ["x"], ["a"], name="binarizer", domain="ai.onnx.ml", threshold=0.5),
        helper.make_node("OneHotEncoder", ["a"], ["b"], name="encoder", domain="ai.onnx.ml", cats_int64s=[0, 1]),
        helper.make_node("Scaler", ["x"], ["c"], name="scaler", domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[1.0]),
        helper.make_node("LinearRegressor", ["x"], ["d"], name="probit", domain="ai.onnx.ml", coefficients=[1.0] * 3, post_transform="PROBIT"),
        helper.make_node("Concat", ["b", "c", "d"], ["y"], name="concat", axis=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "net", [value("x", TensorProto.FLOAT, ["N", 3])], [value("y", TensorProto.FLOAT, None)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), HERE / "refused" / "classical.onnx")
    # Two results of numbers, of which none is said to be the one.
    nodes = [helper.make_node("Relu", ["x"], ["high"]), helper.make_node("Neg", ["x"], ["low"])]
    outputs = [value(name, TensorProto.FLOAT, ["N", 3]) for name in ("high", "low")]
    graph = helper.make_graph(nodes, "net", [value("x", TensorProto.FLOAT, ["N", 3])], outputs)
    onnx.save(helper.make_model(graph, opset_imports=opsets[:1], ir_version=8), HERE / "refused" / "two-outputs.onnx")
    # Two heads of one name.
    nodes = [helper.make_node("Gemm", ["x", f"{name}.w"], [name], name="head") for name in ("high", "low")]
    weights = [helper.make_tensor(f"{name}.w", TensorProto.FLOAT, [3, 3], [factor] * 9) for name, factor in (("high", 1.0), ("low", -1.0))]
    graph = helper.make_graph(nodes, "net", [value("x", TensorProto.FLOAT, ["N", 3])], outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=opsets[:1], ir_version=8), HERE / "refused" / "heads-alike.onnx")


if __name__ == "__main__":
    for name, (fitted, to, options) in MODELS.items():
        if sys.argv[1:] in ([], [name]):
            keep(name, fitted, to, options)
    for name, (fitted, to, options) in REFUSED.items():
        if sys.argv[1:] in ([], [name]):
            export(f"sklearn-{name}", fitted, to, options, "refused")
    if not sys.argv[1:]:
        refused()
