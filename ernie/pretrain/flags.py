"""The flags of train.py. The first groups are those of 2019; what came since is in the last.

Frozen by `tests/ernie/test_pretrain_flags.py`: adding, renaming or changing a default must be a decision.
"""

from ernie.finetune.flags import GivenParser, add_half_precision, add_operators, add_overwrite
from ernie.utils.args import ArgumentGroup


def build_parser(prog=None):
    """The parser of train.py."""
    parser = GivenParser(prog=prog, description='Pre-training of ERNIE 1.0 and 2.0.')
    for add in (_model, _training, _data, _running, _additions):
        add(parser)
    return parser


def _model(parser):
    add = ArgumentGroup(parser, 'model', 'Model configuration and paths.').add_arg
    add('ernie_config_path', str, './config/ernie_config.json', 'Model configuration (JSON).')
    add('init_checkpoint', str, None, 'Checkpoint folder: training continues from it exactly; --do_test uses it.')
    add('checkpoints', str, 'checkpoints', 'Folder of checkpoints and metrics.')
    add('weight_sharing', bool, True, 'The masked-LM output reuses the word table.')
    add('generate_neg_sample', bool, False, 'Make the negative pairs of next_sentence from positive samples.')


def _training(parser):
    add = ArgumentGroup(parser, 'training', 'Training.').add_arg
    add('epoch', int, 100, 'Epochs at most.')
    add('learning_rate', float, 1e-4, 'Peak learning rate.')
    add('lr_scheduler', str, 'linear_warmup_decay', 'linear_warmup_decay, noam_decay or constant.')
    add('weight_decay', float, 0.01, 'Decoupled weight decay.')
    add('num_train_steps', int, 1000000, 'Updates at most; with --schedule its own numbers count.')
    add('warmup_steps', int, 5000, 'Updates over which the rate rises.')
    add('save_steps', int, 10000, 'Checkpoint interval; the last update is always saved.')
    add('validation_steps', int, 1000, 'Validation interval.')
    add_half_precision(add)
    add('skip_steps', int, 10, 'Log interval.')
    add('verbose', bool, False, 'Also log the bounds of the memory estimate.')


def _data(parser):
    add = ArgumentGroup(parser, 'data', 'Data files and batches.').add_arg
    add('train_filelist', str, '', 'List of training files: path, TAB, probability of word-level masking.')
    add('valid_filelist', str, '', 'The same for validation.')
    add('test_filelist', str, '', 'The same for --do_test.')
    add('vocab_path', str, './config/vocab.txt', 'Vocabulary.')
    add('max_seq_len', int, 512, 'Longest sample in tokens; longer ones are skipped and counted.')
    add('batch_size', int, 16, 'Tokens of a batch of one process, padding included; more than 100.')
    add('in_tokens', bool, False, 'Accepted: the batch size of pre-training always counts tokens.')


def _running(parser):
    add = ArgumentGroup(parser, 'run', 'What to run, and on what.').add_arg
    add('is_distributed', bool, False, 'One of several processes; set by the launcher, whose environment decides.')
    add('use_cuda', bool, True, 'Run on GPU.')
    add('use_fast_executor', bool, False, "Hint for 2019's executor; today's needs none.")
    add('do_test', bool, False, 'Only score --test_filelist with --init_checkpoint.')


def _additions(parser):
    add = ArgumentGroup(parser, 'since 2019', 'Flags that the 2019 program did not have.').add_arg
    add('tasks', str, 'knowledge_masking,next_sentence', 'Tasks of --train_filelist, joined by commas.')
    add('schedule', str, None, 'Stages, tasks and updates (YAML or JSON), in place of --train_filelist and --tasks.')
    add('init_pretraining_params', str, None, 'Parameters to start from; heads that it lacks are new.')
    add('allow_missing', str, '', 'Parameter names (or prefixes ending in *) that may be new, joined by commas.')
    add(
        'allow_unused',
        str,
        '',
        'Tensors of the encoder (or prefixes ending in *) to leave out, joined by commas.',
    )
    add('resume', bool, False, 'Continue exactly from the newest checkpoint in --checkpoints, if there is one.')
    add_overwrite(add)
    add('max_checkpoints', int, 0, 'Keep so many of the newest checkpoints (and the best); 0: all.')
    add('keep_best', bool, False, 'Keep the checkpoint with the smallest validation loss in the folder best.')
    add('early_stop', int, -1, 'Stop after so many validations without a smaller loss; -1: never.')
    add('random_seed', int, 1, 'Seed of initial values, order, masks and dropout.')
    add('gradient_accumulation_steps', int, 1, 'Batches of one process for one update.')
    add_operators(add)
    add('recompute', bool, False, 'Compute the layers again in the backward pass: less memory, more time.')
    add('masking_rate', float, 0.15, 'Share of the units that are masked.')
    add('max_ngram', int, 1, 'Longest run of units that is masked as one.')
    add('at_least_one', bool, False, 'Mask at least one unit of each sample.')
    add('whole_unit', bool, False, 'All tokens of a masked unit share one fate.')
    add('buffer_size', int, 10000, 'Samples that are shuffled and sorted by length together.')
    add('log_dir', str, None, 'Write TensorBoard event files there.')
    add('cpu_threads', int, None, 'Threads of matrix products. Left out: as many as the machine has cores.')
