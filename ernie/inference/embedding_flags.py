"""The flags of ernie_encoder.py; `tests/test_ernie_encoder.py` freezes them."""

from ernie.utils.args import ArgumentGroup, Parser

DESCRIPTION = 'Vectors of texts and of their tokens from a pre-trained or fine-tuned encoder, as NumPy files.'


def build_parser(prog=None):
    """The parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = ArgumentGroup(parser, 'model').add_arg
    add('ernie_config_path', str, None, 'Model configuration (JSON). Left out: the one beside the parameters.')
    add('init_pretraining_params', str, None, 'Parameters: a model or checkpoint folder, or a file of tensors.')
    add('vocab_path', str, None, 'Vocabulary. Left out: the one beside the parameters.')
    add(
        'allow_unused',
        str,
        '',
        'Tensors of the encoder (or prefixes ending in *) to leave out, joined by commas.',
    )
    add('tokenizer', str, None, "FullTokenizer or CharTokenizer. Left out: the checkpoint's, else FullTokenizer.")
    add('do_lower_case', bool, None, "Lower-case and strip accents. Left out: as the checkpoint's training, else true.")
    add('task_id', int, None, "Value of the task id, for models with use_task_id. Left out: the checkpoint's, else 0.")
    add = ArgumentGroup(parser, 'data').add_arg
    add('data_set', str, None, 'TSV, CSV or JSON file with a column text_a, perhaps text_b; others are not read.')
    add('output_dir', str, 'embeddings', 'Folder to make; must not exist.')
    add('max_seq_len', int, None, 'Longest input in tokens. Left out: 512, or fewer if the model has fewer positions.')
    add('batch_size', int, 32, 'Texts of a batch.')
    add('skip_bad_rows', bool, False, 'Leave out rows that cannot be read; lines.npy tells which are there.')
    add('cache', bool, True, 'Keep the tokenized file for the next run (in $ERNIE_CACHE or ~/.cache/ernie).')
    add = ArgumentGroup(parser, 'vectors').add_arg
    add('pooling', str, 'pooled', 'Vector of a text: pooled, cls, mean or max.')
    add('layer', int, None, 'Layer: 0 embeddings, 1 first, -1 last. Left out: the last. pooled is always of the last.')
    add('normalize', bool, False, 'Scale the vectors of texts to length 1.')
    add('top_layer', bool, True, 'Also write the vectors of all tokens.')
    add = ArgumentGroup(parser, 'run').add_arg
    add('use_cuda', bool, True, 'Run on GPU (the one in FLAGS_selected_gpus).')
    add('cpu_threads', int, None, 'Threads of matrix products. Left out: as many as the machine has cores.')
    return parser
