"""Makes the files `exports/keras-*`: networks that Keras has built and tf2onnx has exported, channels last, with "same" padding at
stride 2, with inputs and what onnxruntime computes of them.

    python3 -m venv venv && venv/bin/pip install tensorflow-cpu tf2onnx onnxruntime onnx
    venv/bin/python cryptgpu-core/tests/data/onnx/exports_keras.py                     # all of them
    venv/bin/python cryptgpu-core/tests/data/onnx/exports_keras.py keras-upsampling    # one
"""

import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from keras import layers

HERE = pathlib.Path(__file__).parent / "exports"


def mobilenet():
    """As keras.applications.MobileNetV2: padding by a layer before strided depthwise convolutions, ReLU6, a softmax at the end."""
    x = inputs = keras.Input((33, 33, 3))
    x = layers.Conv2D(6, 3, 2, "same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(12, 1, use_bias=False)(x)))
    y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, 2, use_bias=False)(y)))
    x = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(y))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(layers.Activation("relu6")(x))
    x = layers.Add()([x, layers.BatchNormalization()(y)])
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def classifier():
    """Dense layers behind a flattened image, whose pixels are channels last."""
    x = inputs = keras.Input((12, 10, 2))
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3, padding="same", activation="elu")(x))
    x = layers.AveragePooling2D(2)(layers.SeparableConv2D(6, 3, activation="swish")(x))
    x = layers.Dense(8, activation="tanh")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Dropout(0.3)(x)))


def unet():
    """Up by transposed convolutions, joined with what came before."""
    one = inputs = keras.Input((16, 16, 3))
    one = layers.Conv2D(4, 3, padding="same", activation="relu")(one)
    two = layers.Conv2D(6, 3, padding="same", activation="relu")(layers.MaxPooling2D()(one))
    x = layers.Conv2D(8, 3, padding="same", activation="leaky_relu")(layers.MaxPooling2D()(two))
    x = layers.Concatenate()([layers.Conv2DTranspose(6, 3, 2, "same")(x), two])
    x = layers.Conv2DTranspose(6, 2, 2)(layers.Conv2D(6, 3, padding="same", activation="relu")(x))
    return keras.Model(inputs, layers.Conv2D(2, 1)(layers.Concatenate()([x, one])))


def upsampling():
    """Up by repeated pixels, which Keras 3 writes as Tile, and by bilinear ones; means that leave padding out."""
    x = inputs = keras.Input((9, 8, 3))
    x = layers.AveragePooling2D(3, 2, "same")(layers.Conv2D(4, 3, padding="same", activation="softplus")(x))
    x = layers.Conv2D(4, 3, padding="same", activation="mish")(layers.UpSampling2D(2)(x))
    x = layers.UpSampling2D((2, 3), interpolation="bilinear")(x)
    return keras.Model(inputs, layers.Conv2D(2, 3, activation="softsign")(x))


def export(name, build, seed):
    keras.utils.set_random_seed(seed)
    net, random = build(), np.random.default_rng(seed)
    for layer in net.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            shape = gamma.shape
            layer.set_weights([random.uniform(low, high, shape) for low, high in ((0.8, 1.2), (-0.2, 0.2), (-0.3, 0.3), (0.5, 1.5))])
    shape = net.input_shape[1:]
    signature = [tf.TensorSpec((None, *shape), tf.float32, name="x")]
    # As Keras's own `export` does, a function with this signature.
    model, _ = tf2onnx.convert.from_function(tf.function(lambda x: net(x, training=False)), signature, opset=17)
    path = HERE / f"{name}.onnx"
    onnx.save(model, path)
    x = random.uniform(-1.5, 1.5, (2, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": x})[0]
    assert np.abs(y - net(x).numpy()).max() < 1e-4 and np.abs(y).max() > 0.05, name
    np.save(HERE / f"{name}.x.npy", x)
    np.save(HERE / f"{name}.y.npy", y)


if __name__ == "__main__":
    networks = {"keras-mobilenet": mobilenet, "keras-classifier": classifier, "keras-unet": unet, "keras-upsampling": upsampling}
    for seed, (name, build) in enumerate(networks.items()):
        if sys.argv[1:] in ([], [name]):
            export(name, build, seed)
