"""`ernie pretrain elmo`: the training of ELMo's two language models on texts."""

import json
import math
import os
import shlex
import time
from collections import Counter

from ernie.config import ErnieConfig
from ernie.distill.augmenting import word_list
from ernie.distill.layer_tasks import TextTask
from ernie.distill.segmented import Segmenter
from ernie.distill.texts import texts_of
from ernie.finetune.own_data import with_folder, with_split
from ernie.finetune.trainer import FineTuning, fine_tune
from ernie.model.elmo_language_model import HEAD, ElmoLanguageModel
from ernie.pretrain.word_counts import BoundedCounter
from ernie.reader.columns import ColumnNames
from ernie.run.blocks import clock
from ernie.run.device import with_device
from ernie.run.evaluation import Evaluated
from ernie.run.machine import size_text
from ernie.run.resume import ernie_words, resume_command
from ernie.tokenizers import TOKENIZER_CONFIG
from ernie.tokenizers.words import WordTokenizer, tokenizer_config
from propeller.distribution import join, log_in_main_process_only, process_info
from propeller.errors import UsageError, bad_input
from propeller.log import get_logger
from propeller.progress import progress
from propeller.storage.folders import make_folder, write_files

log = get_logger(__name__)

ELMO = 'elmo'
WORDS = 'words'  # folder of the word list, in that of the run
_SHARE = 4  # of the vocabulary that may be drawn for a batch


def pretrain_elmo(args):
    """Do what `ernie pretrain elmo FILE` asks for.

    Args:
        args: `ElmoSettings`.
    Returns:
        `ernie.finetune.outcome.Finetuned`; None in the other processes of a job.
    Raises:
        UserError: anything the user can mend.
        Interrupted: Ctrl-C or SIGTERM came, and the last update is saved.
    """
    if args.gave('lexer') and args.vocab_path:
        raise UsageError('--lexer and --vocab_path: give one. tokenizer_config.json beside the list says it.')
    args = with_split(args).checked()
    log_in_main_process_only(process_info(os.environ))
    args = with_folder(with_device(args), '-elmo').replace(do_test=False, tokenizer=WordTokenizer.__name__)
    if args.ernie_config_path and not args.vocab_path:
        args = _with_own_words(args)
    return fine_tune(args, ElmoTask, own_data=True, kind=ElmoPretraining)


def _with_own_words(args):
    """The settings with the word list of the training texts and a configuration of so many words; both are made in the
    folder of the run, where they are not there yet.
    """
    config = _checked(ErnieConfig(args.ernie_config_path), args.ernie_config_path)
    folder = os.path.join(args.checkpoints, WORDS)
    places = [os.path.join(folder, name) for name in ('ernie_config.json', 'vocab.txt')]
    world = join(args.use_cuda)
    with world.local_main_process_first():
        if world.is_main_process and not all(map(os.path.exists, places)):
            segmenter, counts = Segmenter(args.lexer), BoundedCounter()
            for text in progress(texts_of(args.train_set, ColumnNames.of(args)), 'counting words'):
                counts.update(Counter(word.lower() for word in segmenter(text).texts))
            words = word_list(counts.counts, config.vocab_size, args.min_count)
            files = {
                TOKENIZER_CONFIG: json.dumps(tokenizer_config(args.lexer)),
                'vocab.txt': '\n'.join(words),
                'ernie_config.json': json.dumps({**config.to_dict(), 'vocab_size': len(words)}, indent=2),
            }
            make_folder(folder)
            write_files(folder, {name: f'{text}\n'.encode() for name, text in files.items()})
            log.info('%s: %d words of the texts, by %s', places[1], len(words), args.lexer)
    return args.replace(ernie_config_path=places[0], vocab_path=places[1])


def _checked(config, path):
    """The configuration. Raises `UserError`: it is of another encoder."""
    if config.encoder != ELMO:
        raise bad_input(path, f'encoder {config.encoder}', f'encoder {ELMO}, as in config/elmo_small.json')
    return config


class ElmoTask(TextTask):
    """Texts from which the two language models learn; the score is the loss of a word, all words being compared."""

    model_class = ElmoLanguageModel

    def __init__(self, args, config, tokenizer, saved, found=None):
        super().__init__(args, _checked(config, args.ernie_config_path or 'the model'), tokenizer, saved, found)

    def is_new(self, name):
        return name in HEAD

    def head_hparams(self):
        drawn = min(self.args.n_negative_samples_batch, self.config.vocab_size // _SHARE)
        return {'layer_dropout': self.args.layer_dropout, 'sampled_words': drawn}

    def evaluate(self, predictor, rows, path):
        started, total, count = time.monotonic(), 0.0, 0.0
        for _, outputs, _ in predictor.batches(rows, labelled=True):
            total, count = total + float(outputs[1].sum()), count + float(outputs[2].sum())
        loss = total / max(count, 1)
        perplexity = math.exp(min(loss, 700))
        values = {'loss': loss, 'ppl': perplexity, 'data_num': len(rows), 'elapsed': time.monotonic() - started}
        return Evaluated(values, f'[dev evaluation] loss: {loss:f}, perplexity: {perplexity:.2f}, words: {count:,.0f}')


class ElmoPretraining(FineTuning):
    """One training. For the arguments see `FineTuning`."""

    program_name = 'pretrain elmo'

    def saved(self, start):
        return {}

    def end_pairs(self, seconds):
        training, args = self.run, self.args
        newest = training.best or training.checkpoints.newest()
        if training.loop.interrupted:
            again = resume_command(args, self.world)
            return [('interrupted', f'at step {training.loop.gstep}'), ('to resume', (again,))]
        found = f', perplexity {math.exp(min(-training.evaluation.best, 700)):.2f}' if training.best else ''
        words = [*ernie_words(), 'finetune', 'LABELLED_FILE', '--model', newest]
        return [
            ('done', f'{training.loop.gstep:,} steps in {clock(seconds)}{found}'),
            ('checkpoint', (f'{newest} ({size_text(newest)}), an encoder without a task',)),
            ('next', (shlex.join(words),)),
        ]

    def best_files(self):
        return {}
