"""One run of PyTorch for a work of `benchmark.report`.

    PYTHON benchmark/report/rival.py '{"kind": "train", "folder": "FOLDER", "precision": "bf16", ...}'

It runs where PyTorch and transformers are, and needs nothing of this repository but `torch_side.py` beside it. The
folder has `config.json` and `ids.json` (`benchmark.report.works`); the other settings are `rows`, `warm`, `counted` and
`threads`. Prints a JSON line with `rate`, in tokens a second without padding (of 'latency': `ms`), and `gigabytes`, its
peak of resident memory.
"""

import argparse
import json

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('settings', type=json.loads, help='JSON object')
    given = parser.parse_args().settings

    import torch_side

    torch_side.main(given)
