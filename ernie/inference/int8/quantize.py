"""The two ways to 8 bits: static ones for OpenVINO (package nncf), and dynamic ones of ONNX Runtime."""

import contextlib
import io
import logging
import os
import sys

import numpy as np

from ernie.inference.engines import OpenVinoEngine
from ernie.inference.processor import has_int8_products, processor_flags
from propeller.errors import UserError
from propeller.optional import optional_package

_ASKED_BY = '--precision int8'
_PRODUCTS = ['MatMul', 'Attention', 'LSTM']  # operators that ONNX Runtime multiplies in 8 bits
_FACTORS = {'MatMul': (0, 1), 'LSTMSequence': (0, 4)}  # of OpenVINO: which of their inputs are multiplied


class OpenVinoQuantizer:
    """Post-training quantization of an ONNX file for OpenVINO.

    Args:
        path: the ONNX file.
        calibration: list of inputs of the model, each a list of arrays of one row at its own length.
        threads: of a validation.
    """

    def __init__(self, path, calibration, threads):
        import openvino

        self._nncf = load_nncf()
        self._model = with_whole_weights(openvino.Core().read_model(path))
        self._rows = self._nncf.Dataset(calibration, lambda arrays: dict(enumerate(arrays)))
        # Sums, normalisation and masks stay as they are, of students too: a mask of -1e9 beside words has no 8 bits.
        self._options = {'subset_size': len(calibration), 'model_type': self._nncf.ModelType.TRANSFORMER}
        self._threads = threads

    def quantize(self):
        """The model in 8 bits: `openvino.Model`."""
        with _quiet():
            return self._nncf.quantize(self._model.clone(), self._rows, **self._options)

    def quantize_with_control(self, scores, max_drop):
        """The same with those products left in float32 that cost most of the score, until it is within `max_drop`.

        Args:
            scores: `ernie.inference.int8.scores.TaskScores` or `VectorScores`.
            max_drop: points.
        """
        count = len(scores.rows)

        def validate(compiled, items):
            if len(list(items)) < count:  # asked once, of one row, to see what comes: outputs rank the products
                return 0.0, [[np.zeros(1)]]
            return scores.of(OpenVinoEngine(compiled)), None

        rows = self._nncf.Dataset(range(count), lambda i: dict(enumerate(scores.arrays(np.array([i])))))
        # A product that goes back gets the weights that it had before they were smoothed, and smoothed inputs.
        unsmoothed = self._nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=self._nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
        )
        restorer = self._nncf.AdvancedAccuracyRestorerParameters(ranking_subset_size=300, num_ranking_workers=1)
        with _quiet():
            return self._nncf.quantize_with_accuracy_control(
                self._model.clone(),
                self._rows,
                rows,
                validate,
                max_drop=max_drop,
                advanced_quantization_parameters=unsmoothed,
                advanced_accuracy_restorer_parameters=restorer,
                **self._options,
            )

    def opened(self, model):
        """The engine of a model that is not on disk yet."""
        return OpenVinoEngine.of_model(model, 'int8', self._threads)


def with_whole_weights(model):
    """An `openvino.Model` in which what is made of constants alone is a constant.

    The graph joins the weights of queries, keys and values into one product. A product whose weights are made while the
    model runs is left in float32, and these are a quarter of an encoder.
    """
    from openvino.passes import ConstantFolding, Manager

    for node in model.get_ops():
        if node.get_type_name() == 'Identity':  # paddle2onnx writes many of them, also behind weights
            node.output(0).replace(node.input_value(0))
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    return model


def products_in_int8(model):
    """(products of an `openvino.Model` of which both factors are in 8 bits, all of them)."""
    products = [op for op in model.get_ops() if op.get_type_name() in _FACTORS]
    quantized = [
        op for op in products if all(_is_quantized(op.input_value(i).get_node()) for i in _FACTORS[op.get_type_name()])
    ]
    return len(quantized), len(products)


def _is_quantized(node):
    """Whether a factor is in 8 bits: rounded as it comes, or a constant of 8 bits and its scale."""
    while node.get_type_name() in ('Reshape', 'Transpose', 'Squeeze', 'Unsqueeze', 'Multiply', 'Convert'):
        node = node.input_value(0).get_node()
    kind = node.get_type_name()
    return kind == 'FakeQuantize' or (kind == 'Constant' and node.get_element_type().size == 1)


def load_nncf():
    """The package nncf, silent, and without what it would tell its makers of its use.

    Raises:
        UserError: it is not installed.
    """
    if 'nncf' not in sys.modules:
        telemetry = {name: sys.modules[name] for name in ('openvino_telemetry',) if name in sys.modules}
        sys.modules['openvino_telemetry'] = None  # it sends nothing where it does not find this
        try:
            with _quiet():
                nncf = optional_package('nncf', _ASKED_BY)
        finally:
            del sys.modules['openvino_telemetry']
            sys.modules.update(telemetry)
        nncf.set_log_level(logging.ERROR)
    return sys.modules['nncf']


@contextlib.contextmanager
def _quiet():
    """Standard output belongs to results: bars and notes of packages do not come there."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def quantize_dynamic(source, target):
    """Write an ONNX file whose products are in 8 bits: weights once, inputs while it runs.

    Args:
        source, target: paths of ONNX files.
    Raises:
        UserError: nothing in it is multiplied in this way.
    """
    quantization = optional_package('onnxruntime.quantization', _ASKED_BY, 'onnxruntime onnx ml_dtypes')
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)  # it would set up the root logger to give advice
    try:
        quantization.quantize_dynamic(
            _with_weights(source),
            target,
            op_types_to_quantize=_PRODUCTS,
            per_channel=True,
            reduce_range=not has_int8_products(processor_flags()),  # two products of 8 bits do not fit into 16
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        logging.getLogger().removeHandler(handler)


def _with_weights(path):
    """The model of an ONNX file, whose weights are initializers: paddle2onnx writes nodes, which are not quantized."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    weights, rest = {tensor.name: tensor for tensor in graph.initializer}, []
    for node in graph.node:
        if node.op_type == 'Constant' and node.attribute[0].name == 'value':
            made = node.attribute[0].t
        elif node.op_type in ('Identity', 'Concat') and all(name in weights for name in node.input):
            parts = [onnx.numpy_helper.to_array(weights[name]) for name in node.input]  # see `with_whole_weights`
            joined = np.concatenate(parts, node.attribute[0].i) if node.op_type == 'Concat' else parts[0]
            made = onnx.numpy_helper.from_array(joined)
        else:
            rest.append(node)
            continue
        made.name = node.output[0]
        weights[made.name] = made
    read = {name for node in rest for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(rest)
    graph.initializer.extend(tensor for name, tensor in weights.items() if name in read)
    return model


def dynamic_products(path):
    """(products of an ONNX file that are in 8 bits, all of them)."""
    import onnx

    kinds = [node.op_type for node in onnx.load(path).graph.node]
    quantized = sum(kinds.count(kind) for kind in ('MatMulInteger', 'DynamicQuantizeLSTM', 'QAttention'))
    return quantized, quantized + sum(kinds.count(kind) for kind in ('MatMul', 'LSTM', 'Attention', 'Gemm'))


def check_quantized(counts, path):
    """Raises `UserError`: nothing of a model is in 8 bits. counts: (products in 8 bits, all)."""
    if not counts[0]:
        raise UserError(f'{path}: none of its {counts[1]} products can be in int8. Export it in fp32.')


def size_of(*paths):
    """Megabytes of files."""
    return round(sum(os.stat(path).st_size for path in paths) / 1e6, 1)
