"""An inference model in Paddle's own format, run by Paddle's predictor."""

import os

from propeller.errors import bad_input
from propeller.graph import load_paddle, np
from propeller.storage.fluid import check_combined

EXPORTED = 'model'  # an inference model is `model.json` and `model.pdiparams`


class ExportedModel:
    """An inference model in Paddle's predictor, on a processor with oneDNN's fused operators.

    Args:
        folder: holds `model.json` and `model.pdiparams`.
        threads: threads of matrix products.
        bf16: compute matrix products in bfloat16; has no effect where the processor does not know it.
        device: GPU number, None for the processor.
    Raises:
        UserError: Paddle cannot load it.
    """

    def __init__(self, folder, threads=1, bf16=False, device=None):
        check_exported(folder)
        load_paddle()
        from paddle import inference

        prefix = os.path.join(folder, EXPORTED)
        config = inference.Config(f'{prefix}.json', f'{prefix}.pdiparams')
        config.disable_glog_info()
        if device is None:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(threads)
            config.enable_mkldnn()
            if bf16:
                config.enable_mkldnn_bfloat16()
        else:
            config.enable_use_gpu(100, device)
        try:
            self._predictor = inference.create_predictor(config)
        except Exception as e:  # whatever Paddle's own code makes of damaged files
            raise unloadable(folder, e) from e
        self.input_names = self._predictor.get_input_names()
        self._inputs = [self._predictor.get_input_handle(name) for name in self.input_names]

    def run(self, arrays):
        """Outputs for one batch, a list of arrays. arrays: in the order of the inputs."""
        for handle, array in zip(self._inputs, arrays, strict=True):
            handle.copy_from_cpu(np.ascontiguousarray(array))
        self._predictor.run()
        names = self._predictor.get_output_names()
        return [self._predictor.get_output_handle(name).copy_to_cpu() for name in names]


def check_exported(folder):
    """Raises `UserError` when the two files of an inference model are not in `folder`, or the values are cut off."""
    missing = [f'{EXPORTED}{end}' for end in ('.json', '.pdiparams') if not os.path.isfile(f'{folder}/{EXPORTED}{end}')]
    if missing:
        raise bad_input(folder, f'no {" and no ".join(missing)}', "Paddle's inference model, in two files")
    check_combined(os.path.join(folder, f'{EXPORTED}.pdiparams'))


def unloadable(folder, error):
    """The `UserError` for an inference model that Paddle refuses."""
    reason = ' '.join(str(error).split())[-200:]
    return bad_input(folder, f'an inference model that Paddle cannot load ({reason})', 'one that it can')
