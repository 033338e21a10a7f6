"""The network and the flags that both programs of the example have: PaddleHub's `demo/elmo` of 2019."""

import argparse
import os

import ernie.hub as hub
from propeller.args import Parser, boolean
from propeller.errors import UserError

NETS = {'bow': hub.nets.bow_net, 'cnn': hub.nets.cnn_net, 'gru': hub.nets.gru_net, 'lstm': hub.nets.lstm_net}
NETS['bilstm'] = hub.nets.bilstm_net
WORD_WIDTH, WORD_RATE = 128, 30


def flags(prog, description, batch_size):
    """The parser of the flags of both programs. batch_size: its default."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = Parser(prog=prog, description=description, formatter_class=formatter)
    parser.add_argument('--use_gpu', type=boolean, default=True, help='train on a GPU, if there is one')
    parser.add_argument('--checkpoint_dir', default=None, help='folder of the training; left out: named by the time')
    parser.add_argument('--batch_size', type=int, default=batch_size, help='texts in a step')
    parser.add_argument('--learning_rate', type=float, default=5e-5, help='largest rate; the words have 30 times of it')
    parser.add_argument('--weight_decay', type=float, default=0.01, help='of all parameters but biases and norms')
    parser.add_argument('--warmup_proportion', type=float, default=0.0, help='share of the steps with a rising rate')
    parser.add_argument('--module', default='elmo', help='name or folder of a module that reads words')
    parser.add_argument('--net', choices=NETS, default='gru', help='what reads the vectors of the words')
    parser.add_argument('--data_dir', help='folder with train.tsv, dev.tsv, test.tsv; left out: ChnSentiCorp, fetched')
    return parser


def data_set(folder):
    """That of a folder, or ChnSentiCorp. A file of the folder that is not there is a split that there is not."""
    if folder is None:
        return hub.dataset.ChnSentiCorp()
    paths = {name: os.path.join(folder, f'{name}.tsv') for name in ('train', 'dev', 'test')}
    found = {name: path for name, path in paths.items() if os.path.isfile(path)}
    if 'train' not in found:
        raise UserError(f'--data_dir {folder}: found no train.tsv, expected one, with the columns label and text_a.')
    return hub.dataset.Files(**found)


def run_config(args, num_epoch, **more):
    """`hub.RunConfig` of the flags. more: further settings of it."""
    strategy = hub.AdamWeightDecayStrategy(
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        lr_scheduler='linear_decay',
        warmup_proportion=args.warmup_proportion,
    )
    return hub.RunConfig(
        use_cuda=args.use_gpu,
        use_data_parallel=True,
        num_epoch=num_epoch,
        batch_size=args.batch_size,
        checkpoint_dir=args.checkpoint_dir,
        strategy=strategy,
        **more,
    )


def open_module(name):
    """The module of a name or a folder."""
    return hub.Module(directory=name) if os.path.isdir(name) else hub.Module(name=name)


def classifier(dataset, config, net='gru', module=None, vocab_path=None, lexer=None):
    """The task: ELMo beside a table of word vectors that is learnt anew, a network, two classes.

    Args:
        dataset: of `hub.dataset`.
        config: `hub.RunConfig`.
        net: name in `NETS`.
        module: `hub.Module` that reads words; None: the word vectors alone.
        vocab_path: without a module, the list of the words.
        lexer: of `LACClassifyReader`.
    """
    reader = hub.reader.LACClassifyReader(
        dataset=dataset, vocab_path=module.get_vocab_path() if module else vocab_path, lexer=lexer
    )
    if module:
        inputs, outputs, program = module.context(trainable=True)
        hub.switch_main_program(program)
        word_ids = inputs['word_ids']
    else:
        program = hub.Program()
        hub.switch_main_program(program)
        word_ids = hub.layers.data('word_ids', [1], 'int64', lod_level=1)
    attr = hub.ParamAttr(learning_rate=WORD_RATE, initializer=hub.initializer.Uniform(low=-0.1, high=0.1))
    vectors = hub.layers.embedding(word_ids, size=[len(reader.vocab), WORD_WIDTH], param_attr=attr)
    if module:
        vectors = hub.layers.concat(input=[outputs[0], vectors], axis=1)
    return hub.TextClassifierTask(
        data_reader=reader,
        feature=NETS[net](program, vectors),
        feed_list=[word_ids.name],
        num_classes=dataset.num_labels,
        config=config,
    )
