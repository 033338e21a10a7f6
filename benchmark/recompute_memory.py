"""Peak memory and time of a training step with and without --recompute.

    python -m benchmark.recompute_memory [--layers 12] [--width 384] [--length 512] [--batch 4] [--steps 3] [--bf16]
        [--fused_ops false]

A random encoder with dropout 0.1 and a classification head, AdamW; each variant in a process of its own. Memory is the
peak that the system reports for the process (VmHWM), the program and its parameters included; what a process
holds before its first step is shown beside it. Time is the fastest step after the first. Linux only.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

from propeller.environment import FUSED_OPS

VARIANTS = {'plain': False, 'recompute': True}


def peak_memory():
    """Peak resident memory of this process in MB. `ru_maxrss` would also count that of the process that started it."""
    with open('/proc/self/status') as f:
        (kilobytes,) = (line.split()[1] for line in f if line.startswith('VmHWM:'))
    return int(kilobytes) / 1024


def measure(args):
    """Train in this process. Prints a JSON object: MB before the first step and at the peak, seconds, losses."""
    from ernie.config import ErnieConfig
    from ernie.tasks.classification.graph import ErnieClassifier, feeds
    from propeller.session import Session
    from propeller.train.model import build_model_spec
    from propeller.types import HParams, RunMode

    config = ErnieConfig(
        {
            'vocab_size': 18000,
            'hidden_size': args.width,
            'num_hidden_layers': args.layers,
            'num_attention_heads': args.width // 32,
            'max_position_embeddings': args.length,
            'type_vocab_size': 2,
            'hidden_act': 'gelu',
            'hidden_dropout_prob': 0.1,
            'attention_probs_dropout_prob': 0.1,
            'initializer_range': 0.02,
        }
    )
    hparams = HParams(
        ernie=config,
        kind='classify',
        num_labels=2,
        learning_rate=1e-4,
        num_train_steps=100,
        warmup_steps=0,
        weight_decay=0.01,
        lr_scheduler='constant',
        decay_without_warmup=False,
        clip_norm=1.0,
        freeze_encoder=False,
        recompute=VARIANTS[args.variant],
    )
    session = Session(seed=1, precision='bf16' if args.bf16 else 'fp32', fused_ops=args.fused_ops)

    def build(*features):
        return build_model_spec(ErnieClassifier, features, RunMode.TRAIN, hparams, None)

    program = session.build(feeds(config, 'classify', 2, labelled=True), build)
    session.initialize(program)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 18000, (args.batch, args.length))
    positions = np.tile(np.arange(args.length), (args.batch, 1))
    arrays = [ids, np.zeros_like(ids), positions, np.ones(ids.shape, np.float32), rng.integers(0, 2, (args.batch, 1))]
    before = peak_memory()
    seconds, losses = [], []
    for _ in range(args.steps):
        started = time.monotonic()
        losses.append(float(session.step(program, arrays, [program.outputs.loss])[0]))
        seconds.append(time.monotonic() - started)
    print(json.dumps({'before': before, 'peak': peak_memory(), 'seconds': min(seconds[1:]), 'losses': losses}))


def main(argv=None):
    """Measure all variants, print a table. Exit code 1 if recomputation saves less than 30 % of the peak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (('layers', 12), ('width', 384), ('length', 512), ('batch', 4), ('steps', 3)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--bf16', action='store_true')
    parser.add_argument('--fused_ops', choices=FUSED_OPS, default='auto')
    parser.add_argument('--variant', choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.variant:
        measure(args)
        return
    given = sys.argv[1:] if argv is None else argv
    print(f'{args.layers} layers x {args.width}, {args.batch} rows of {args.length} tokens')
    print(f'{"":16}{"before MB":>10}{"peak MB":>10}{"s a step":>10}   losses')
    found = {}
    for variant in VARIANTS:
        command = [sys.executable, '-m', 'benchmark.recompute_memory', *given, '--variant', variant]
        run = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        found[variant] = run
        losses = ' '.join(f'{loss:.6f}' for loss in run['losses'])
        print(f'{variant:16}{run["before"]:10.0f}{run["peak"]:10.0f}{run["seconds"]:10.2f}   {losses}', flush=True)
    plain, again = found['plain'], found['recompute']
    saving, ratio = 1 - again['peak'] / plain['peak'], again['seconds'] / plain['seconds']
    print(f'peak down by {saving:.1%}, {ratio:.2f} times the time')
    sys.exit(saving < 0.3)


if __name__ == '__main__':
    main()
