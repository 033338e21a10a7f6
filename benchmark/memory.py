"""Peak memory and time of a training step: with and without --recompute, and with two masked-LM heads.

    python -m benchmark.memory recompute [--layers 12] [--width 384] [--length 512] [--rows 4] [--steps 3] [--bf16]
            [--fused_ops false]
        A random encoder with dropout 0.1 and a classification head, AdamW. Exit code 1 if recomputation saves less than
        30 % of the peak.

    python -m benchmark.memory masked_head [--layers 4] [--width 256] [--length 128] [--rows 16] [--steps 5]
        The masked-LM head over the masked tokens alone beside one over all tokens: a random model without dropout
        trains on random tokens, 15 % of them masked. Exit code 1 unless the losses of all steps agree to 1e-6 relative.

Each variant trains in a process of its own, with 18,000 words. Memory is the peak that the system reports for the
process (VmHWM), the program and its parameters included; what a process holds before its first step is shown beside it.
Time is the fastest step after the first. Linux only.
"""

import argparse
import json
import sys
import time

import numpy as np

from benchmark import common
from propeller.environment import FUSED_OPS
from propeller.errors import one_line_errors

WORDS, MASKED = 18000, 0.15
LEAST_SAVING, MOST_DIFFERENCE = 0.3, 1e-6
VARIANTS = {'recompute': ('plain', 'recompute'), 'masked_head': ('masked tokens', 'all tokens')}
DEFAULTS = {
    'recompute': {'layers': 12, 'width': 384, 'length': 512, 'rows': 4, 'steps': 3},
    'masked_head': {'layers': 4, 'width': 256, 'length': 128, 'rows': 16, 'steps': 5},
}


def model_config(args, dropout):
    """The configuration of a random model."""
    from ernie.config import ErnieConfig

    return ErnieConfig(
        {
            'vocab_size': WORDS,
            'hidden_size': args.width,
            'num_hidden_layers': args.layers,
            'num_attention_heads': args.width // 32,
            'max_position_embeddings': args.length,
            'type_vocab_size': 2,
            'hidden_act': 'gelu',
            'hidden_dropout_prob': dropout,
            'attention_probs_dropout_prob': dropout,
            'initializer_range': 0.02,
        }
    )


def encoder_arrays(args, ids):
    """Token ids, sentence types, positions and mask [B, T]."""
    positions = np.tile(np.arange(args.length), (args.rows, 1))
    return [ids, np.zeros_like(ids), positions, np.ones(ids.shape, np.float32)]


def classification(args):
    """(session, program, fetched loss, function -> arrays of the next step: always the same ones)."""
    from ernie.model.task_model import encoder_feeds
    from ernie.tasks.classification.graph import ErnieClassifier
    from propeller.session import Session
    from propeller.train.model import build_model_spec
    from propeller.types import HParams, RunMode

    config = model_config(args, 0.1)
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
        recompute=args.variant == 'recompute',
    )
    session = Session(seed=1, precision='bf16' if args.bf16 else 'fp32', fused_ops=args.fused_ops)

    def build(*features):
        return build_model_spec(ErnieClassifier, features, RunMode.TRAIN, hparams, None)

    program = session.build([*encoder_feeds(config), ErnieClassifier.label_feed(hparams)], build)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, WORDS, (args.rows, args.length))
    arrays = [*encoder_arrays(args, ids), rng.integers(0, 2, (args.rows, 1))]
    return session, program, program.outputs.loss, lambda: arrays


def masked_lm(args):
    """(session, program, fetched loss, function -> arrays of the next step: other tokens each time)."""
    from ernie.model.ernie import ErnieModel
    from propeller.graph import F, Feed, paddle
    from propeller.session import Session
    from propeller.update import minimize

    config = model_config(args, 0.0)

    def build(ids, types, positions, mask, label, place):
        model = ErnieModel(ids, positions, types, None, mask, config, training=True)
        if args.variant == 'masked tokens':
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
    session = Session(seed=1, precision='bf16' if args.bf16 else 'fp32', fused_ops=args.fused_ops)
    program = session.build(feeds, build)
    rng = np.random.default_rng(0)

    def arrays():
        ids = rng.integers(1, WORDS, (args.rows, args.length))
        place = np.flatnonzero(rng.random(ids.size) < MASKED)
        label = ids.reshape(-1)[place]
        ids.reshape(-1)[place] = 3
        return [*encoder_arrays(args, ids), label, place]

    return session, program, program.outputs, arrays


def train(args):
    """Train in this process -> dict: MB before the first step and at the peak, seconds, losses."""
    session, program, loss, arrays = (classification if args.what == 'recompute' else masked_lm)(args)
    session.initialize(program)
    before, seconds, losses = common.peak_memory(), [], []
    for _ in range(args.steps):
        step = arrays()
        started = time.monotonic()
        losses.append(float(session.step(program, step, [loss])[0]))
        seconds.append(time.monotonic() - started)
    return {'before': before, 'peak': common.peak_memory(), 'seconds': min(seconds[1:]), 'losses': losses}


def judge(what, first, second):
    """Compares what `train` found in both variants -> (line of text, exit code)."""
    if what == 'recompute':
        saving, ratio = 1 - second['peak'] / first['peak'], second['seconds'] / first['seconds']
        return f'peak down by {saving:.1%}, {ratio:.2f} times the time', int(saving < LEAST_SAVING)
    pairs = zip(first['losses'], second['losses'], strict=True)
    difference = max(abs(a - b) / abs(b) for a, b in pairs)
    memory, seconds = (first[key] / second[key] for key in ('peak', 'seconds'))
    text = f'largest difference of a loss: {difference:.1e} (at most {MOST_DIFFERENCE:.0e}); '
    return f'{text}memory {memory:.2f} times, time {seconds:.2f} times', int(difference > MOST_DIFFERENCE)


def parse_flags(argv=None):
    """The flags, with the defaults of what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=VARIANTS)
    for name in DEFAULTS['recompute']:
        parser.add_argument(f'--{name}', type=int)
    parser.add_argument('--bf16', action='store_true')
    parser.add_argument('--fused_ops', choices=FUSED_OPS, default='auto')
    parser.add_argument('--variant', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for name, value in DEFAULTS[args.what].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def main(argv=None):
    """Measure both variants and print a table; returns the exit code."""
    args = parse_flags(argv)
    if args.variant:
        print(json.dumps(train(args)))
        return 0
    given = sys.argv[1:] if argv is None else argv
    print(f'{args.layers} layers x {args.width}, {args.rows} rows of {args.length} tokens')
    print(f'{"":16}{"before MB":>10}{"peak MB":>10}{"s a step":>10}   losses')
    found = []
    for variant in VARIANTS[args.what]:
        command = [sys.executable, '-m', 'benchmark.memory', *given, '--variant', variant]
        run = common.run_json(command, f'{args.what}, {variant}')
        losses = ' '.join(f'{loss:.6f}' for loss in run['losses'])
        print(f'{variant:16}{run["before"]:10.0f}{run["peak"]:10.0f}{run["seconds"]:10.2f}   {losses}', flush=True)
        found.append(run)
    text, code = judge(args.what, *found)
    print(text)
    return code


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
