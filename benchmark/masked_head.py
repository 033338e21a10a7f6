"""The masked-LM head over the masked tokens alone, beside one over all tokens.

    python -m benchmark.masked_head [--layers 4] [--width 256] [--rows 16] [--length 128] [--steps 5]

A random model with 18,000 words and without dropout trains on random tokens, 15 % of them masked; each head in a
process of its own. The losses of all steps must agree to 1e-6 relative. Memory is the peak of the process (VmHWM), time
the fastest step after the first. Exit code 1 when the losses differ.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

from benchmark.recompute_memory import peak_memory

WORDS, MASKED = 18000, 0.15
HEADS = ('masked tokens', 'all tokens')


def measure(args):
    """Train with one head in this process. Prints a JSON object: MB at the peak, seconds, losses."""
    from ernie.config import ErnieConfig
    from ernie.model.ernie import ErnieModel
    from propeller.graph import F, Feed, paddle
    from propeller.session import Session
    from propeller.update import minimize

    config = ErnieConfig(
        {
            'vocab_size': WORDS,
            'hidden_size': args.width,
            'num_hidden_layers': args.layers,
            'num_attention_heads': args.width // 32,
            'max_position_embeddings': args.length,
            'type_vocab_size': 2,
            'hidden_act': 'gelu',
            'hidden_dropout_prob': 0.0,
            'attention_probs_dropout_prob': 0.0,
            'initializer_range': 0.02,
        }
    )

    def build(ids, types, positions, mask, label, place):
        model = ErnieModel(ids, positions, types, None, mask, config, training=True)
        if args.head == HEADS[0]:
            loss = model.get_lm_output(label, place)
        else:
            everywhere = paddle.arange(args.rows * args.length)
            where = paddle.scatter(paddle.full([args.rows * args.length], -1, 'int64'), place, label)
            losses = F.cross_entropy(model.get_lm_logits(everywhere), where, reduction='none', ignore_index=-1)
            loss = losses.sum() / (where >= 0).astype('float32').sum()
        minimize(loss, lambda step: 1e-3, clip_norm=1.0)
        return loss

    feeds = [Feed(name, (-1, -1), 'int64') for name in ('ids', 'types', 'positions')]
    feeds += [Feed('mask', (-1, -1), 'float32'), Feed('label', (-1,), 'int64'), Feed('place', (-1,), 'int64')]
    session = Session(seed=1)
    program = session.build(feeds, build)
    session.initialize(program)
    rng = np.random.default_rng(0)
    seconds, losses = [], []
    for _ in range(args.steps):
        ids = rng.integers(1, WORDS, (args.rows, args.length))
        place = np.flatnonzero(rng.random(ids.size) < MASKED)
        label = ids.reshape(-1)[place]
        ids.reshape(-1)[place] = 3
        arrays = [
            ids,
            np.zeros_like(ids),
            np.tile(np.arange(args.length), (args.rows, 1)),
            np.ones(ids.shape, np.float32),
        ]
        started = time.monotonic()
        losses.append(float(session.step(program, [*arrays, label, place], [program.outputs])[0]))
        seconds.append(time.monotonic() - started)
    print(json.dumps({'peak': peak_memory(), 'seconds': min(seconds[1:]), 'losses': losses}))


def main(argv=None):
    """Measure both heads, print a table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (('layers', 4), ('width', 256), ('rows', 16), ('length', 128), ('steps', 5)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--head', choices=HEADS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.head:
        measure(args)
        return 0
    given = sys.argv[1:] if argv is None else argv
    found = {}
    for head in HEADS:
        command = [sys.executable, '-m', 'benchmark.masked_head', *given, '--head', head]
        found[head] = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )
        print(f'{head:14} {found[head]["peak"]:8.0f} MB {found[head]["seconds"]:8.3f} s a step', flush=True)
    few, every = (found[head] for head in HEADS)
    pairs = zip(few['losses'], every['losses'], strict=True)
    difference = max(abs(a - b) / abs(b) for a, b in pairs)
    print(
        f'largest difference of a loss: {difference:.1e} (at most 1e-6); '
        f'memory {few["peak"] / every["peak"]:.2f} times, time {few["seconds"] / every["seconds"]:.2f} times'
    )
    return int(difference > 1e-6)


if __name__ == '__main__':
    sys.exit(main())
