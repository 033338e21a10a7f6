"""The flags of the fine-tuning programs. The first seven groups are those of 2019; what came since is in the last.

Flags frozen by `tests/ernie/test_flags.py`: adding, renaming or changing a default must be a decision, not an accident.
"""

from ernie.utils.args import ArgumentGroup, Parser


class GivenParser(Parser):
    """Its namespace has `given` too, the names of the flags on the command line: others may come from a checkpoint."""

    def parse_args(self, args=None, namespace=None):
        parsed = super().parse_args(args, namespace)
        parsed.given = self.given(args)
        return parsed


def build_parser(prog=None):
    """The parser shared by run_classifier, run_sequence_labeling and run_mrc."""
    parser = GivenParser(prog=prog)
    for add in (_model, _training, _logging, _data, _reading, _running, _additions):
        add(parser)
    return parser


def _model(parser):
    add = ArgumentGroup(parser, 'model', 'Model configuration and paths.').add_arg
    add('ernie_config_path', str, None, 'Model configuration (JSON). Left out: the one beside the given parameters.')
    add('init_checkpoint', str, None, 'Checkpoint folder: training continues from it exactly; evaluation uses it.')
    add('init_pretraining_params', str, None, 'Pre-trained parameters to start from; ignored beside --init_checkpoint.')
    add('checkpoints', str, 'checkpoints', 'Folder of checkpoints, metrics and curves.')
    add('is_classify', bool, True, 'Classification head.')
    add('is_regression', bool, False, 'Regression head; exactly one of the two.')
    add('task_id', int, 0, 'Value of the task id; needs use_task_id in the model configuration.')


def _training(parser):
    add = ArgumentGroup(parser, 'training', 'Training.').add_arg
    add('epoch', int, 3, 'Epochs.')
    add('learning_rate', float, 5e-5, 'Peak learning rate.')
    add('lr_scheduler', str, 'linear_warmup_decay', 'linear_warmup_decay, noam_decay or constant.')
    add('weight_decay', float, 0.01, 'Decoupled weight decay.')
    add('warmup_proportion', float, 0.1, 'Share of the steps over which the rate rises; at 0 it is constant.')
    add('save_steps', int, 10000, 'Checkpoint interval.')
    add('validation_steps', int, 1000, 'Evaluation interval; the end of an epoch is always evaluated.')
    add_half_precision(add)
    add('test_save', str, './checkpoints/test_result', 'Prediction files, one per test set, joined by commas.')
    add('metric', str, 'simple_accuracy',
        'Metric of the task; also chooses the best checkpoint. Classes: simple_accuracy, macro_f1, micro_f1, '
        'weighted_f1, matthews_corrcoef; two: acc_and_f1, acc_and_f1_and_mrr, pearson_and_spearman too.')  # fmt: skip


def add_operators(add):
    """The flags that say how a step is computed. add: `ArgumentGroup.add_arg`."""
    add('precision', str, 'auto',
        'fp32; bf16 or fp16 (GPU): matrix products in half precision, all else in float32. '
        'auto: bf16 on a processor that has such products and --fused_ops, else fp32.')  # fmt: skip
    add('fused_ops', str, 'auto',
        'Operators of our own on a processor: auto (where they can be had), true (or an error), false.')  # fmt: skip


def add_half_precision(add):
    """The flags of half precision and its loss scale. add: `ArgumentGroup.add_arg`."""
    add('use_fp16', bool, False, 'The same as --precision fp16.')
    add('use_dynamic_loss_scaling', bool, True, 'Adapt the loss scale.')
    add('init_loss_scaling', float, 102400, 'First loss scale.')
    add('incr_every_n_steps', int, 100, 'Good steps before the loss scale grows.')
    add('decr_every_n_nan_or_inf', int, 2, 'Overflows before the loss scale shrinks.')
    add('incr_ratio', float, 2.0, 'Factor by which the loss scale grows.')
    add('decr_ratio', float, 0.8, 'Factor by which the loss scale shrinks.')


def add_overwrite(add):
    """The flag of training programs that says what an older run costs. add: `ArgumentGroup.add_arg`."""
    add('overwrite_checkpoints', bool, False, "Delete an earlier training's checkpoints in --checkpoints, if any.")


def _logging(parser):
    add = ArgumentGroup(parser, 'logging', 'Logging.').add_arg
    add('skip_steps', int, 10, 'Log interval.')
    add('verbose', bool, False, 'Also log memory estimate, queue size and learning rate.')


def _data(parser):
    add = ArgumentGroup(parser, 'data', 'Data files and batches.').add_arg
    add('tokenizer', str, 'FullTokenizer', 'FullTokenizer, or CharTokenizer for text cut by spaces.')
    add('train_set', str, None, 'Training file.')
    add('test_set', str, None, 'Files to predict, joined by commas.')
    add('dev_set', str, None, 'Files to evaluate, joined by commas; the first one chooses the best checkpoint.')
    add('vocab_path', str, None, 'Vocabulary. Left out: the one beside the given parameters.')
    add('max_seq_len', int, 512, 'Longest input in tokens, special tokens included.')
    add('batch_size', int, 32, 'Rows of a batch on one device; tokens with --in_tokens true.')
    add('predict_batch_size', int, None, 'The same for evaluation and prediction. Left out: --batch_size.')
    add('in_tokens', bool, False, 'Batch size counts tokens, padding included.')
    add('do_lower_case', bool, True, 'Lower-case and strip accents.')
    add('random_seed', int, None, 'Seed of initial values, order and dropout. Left out: drawn and logged.')
    add('label_map_config', str, None, 'JSON object: label text -> id.')
    add('num_labels', int, None, 'Number of classes. Left out: that of the label map or the checkpoint, else 2.')
    add('diagnostic', str, None, 'One more file to predict, once, at the end (GLUE AX).')
    add('diagnostic_save', str, None, 'Where its predictions go.')
    add('shuffle', bool, True, 'Training rows in random order.')
    add('for_cn', bool, True, 'Drop spaces next to ideographs and punctuation; others part words.')


def _reading(parser):
    add = ArgumentGroup(parser, 'reading', 'Reading comprehension and sequence labelling.').add_arg
    add('max_query_length', int, 64, 'Longest question in tokens.')
    add('max_answer_length', int, 100, 'Longest answer in tokens.')
    add('doc_stride', int, 128, 'Step between two windows of a document, in tokens.')
    add('n_best_size', int, 20, 'Answers kept per question.')
    add('chunk_scheme', str, 'IOB', 'IO, IOB, IOE or IOBES.')


def _running(parser):
    add = ArgumentGroup(parser, 'run', 'What to run, and on what.').add_arg
    add('use_cuda', bool, True, 'Run on GPU.')
    add('is_distributed', bool, False, 'One of several processes; set by the launcher, whose environment decides.')
    add('use_fast_executor', bool, False, "Hint for 2019's executor; today's needs none.")
    add('num_iteration_per_drop_scope', int, 10, "Hint for 2019's executor; today's needs none.")
    add('do_train', bool, True, 'Train.')
    add('do_val', bool, True, 'Evaluate --dev_set.')
    add('do_test', bool, True, 'Predict --test_set.')
    add('use_multi_gpu_test', bool, False, 'Evaluation is always shared among the processes, with or without it.')
    add('metrics', bool, True, 'Accuracy on training log lines.')
    parser.add_argument('--enable_ce', action='store_true', help='Print kpis lines for continuous evaluation.')


def _additions(parser):
    add = ArgumentGroup(parser, 'since 2019', 'Flags that the 2019 programs did not have.').add_arg
    add('resume', bool, False, 'Continue exactly from the newest checkpoint in --checkpoints, if there is one.')
    add_overwrite(add)
    add('gradient_accumulation_steps', int, 1, 'Batches of one process for one update.')
    add_operators(add)
    add('max_steps', int, 0, 'Stop training after so many steps in all; 0: after --epoch epochs.')
    add('head_learning_rate', float, None, 'Peak rate of the task head. Left out: --learning_rate.')
    add('freeze_encoder', bool, False, 'Train the task head only.')
    add('recompute', bool, False, 'Compute each layer again in the backward pass: less memory, a third more time.')
    add('clip_norm', float, 1.0, 'Largest global norm of the gradients; 0: no clipping.')
    add('decay_without_warmup', bool, False, 'Let linear_warmup_decay decay also when there is no warm-up.')
    add('early_stop', int, -1, 'Stop after so many evaluations without a better metric; -1: never.')
    add('max_checkpoints', int, 0, 'Keep so many of the newest checkpoints (and the best); 0: all.')
    add('allow_missing', str, '', 'Parameter names (or prefixes ending in *) that may be new, joined by commas.')
    add(
        'allow_unused',
        str,
        '',
        'Tensors of the encoder (or prefixes ending in *) to leave out, joined by commas.',
    )
    add('is_multilabel', bool, False, 'Several classes may hold for a row; labels are joined by commas.')
    add('use_crf', bool, False, 'Sequence labelling: a CRF layer over the labels.')
    add('null_score_diff_threshold', float, 0.0, 'Reading: no answer when its score leads by more than this.')
    add('to_simplified', bool, False, 'Reading: convert traditional characters to simplified ones (package opencc).')
    add('class_weights', str, None, 'Weight of each class in the loss, joined by commas; "balanced": by frequency.')
    add(
        'length_window',
        int,
        50,
        'Rows of like length share a batch, inside windows of so many batches; 0: no grouping.',
    )
    add('skip_bad_rows', bool, False, 'Leave out rows that cannot be read, and list them.')
    add('cache', bool, True, 'Keep tokenized files for the next run (in $ERNIE_CACHE or ~/.cache/ernie).')
    add('log_dir', str, None, 'Write TensorBoard event files there.')
    add('cpu_threads', int, None, 'Threads of matrix products. Left out: as many as the machine has cores.')
