"""An engine: the evaluator of the package onnx, which is plain numpy."""

import os

from ernie.inference.engines import ONNX_FILE, Engine, optional_package


class ReferenceEngine(Engine):
    name = 'reference'
    format = 'onnx'

    def __init__(self, evaluator):
        self.evaluator = evaluator

    @classmethod
    def open(cls, folder, precision, threads, device):
        reference = optional_package('onnx.reference', '--engine reference')
        return cls(reference.ReferenceEvaluator(os.path.join(folder, ONNX_FILE)))

    def run(self, arrays):
        return self.evaluator.run(None, dict(zip(self.evaluator.input_names, arrays, strict=True)))
