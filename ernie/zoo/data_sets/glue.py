"""The tasks of GLUE (https://gluebenchmark.com).

Addresses: GLUE's own download script (nyu-mll/GLUE-baselines). Checksums and numbers of rows: `dataset_infos.json` of
Hugging Face's `datasets` (datasets/glue), whose addresses are the same. Columns: the headers of the files, as
`datasets/glue/glue.py` names them. The test sets have no labels, except MRPC's.
"""

from ernie.zoo.data_sets.entries import CLASSIFY, PAIR, REGRESSION, DataSet, File, Part
from ernie.zoo.data_sets.layouts import Paraphrases, Table

_STORE = 'https://dl.fbaipublicfiles.com/glue/data/'
_SENTEVAL = 'https://dl.fbaipublicfiles.com/senteval/senteval_data/'
_TWO = ('0', '1')
_ENTAILS = ('entailment', 'not_entailment')
_NLI = ('contradiction', 'entailment', 'neutral')
_SENTENCE = {'text_a': ('sentence',), 'label': ('label',)}
_SENTENCES = {'text_a': ('sentence1',), 'text_b': ('sentence2',), 'label': ('label',)}
_RESEARCH = 'for research; the licence of the source'


def _file(name, sha256):
    return File(f'{_STORE}{name}', f'sha256:{sha256}', 'glue')


def _table(columns, splits):
    """A `Table` with a file for each split, whose tests have no labels."""
    tests = tuple(split for split in splits if split.startswith('test'))
    return Table({split: rf'{split}\.tsv' for split in splits}, columns, unlabelled=tests)


def _task(name, title, about, task, labels, rows, file, columns, home, licence=_RESEARCH, other_names=()):
    layout = _table(columns, tuple(rows))
    return DataSet(
        name,
        about,
        task,
        labels,
        rows,
        (Part((file,), layout),),
        licence,
        home,
        other_names=(title, *other_names),
        unlabelled=layout.unlabelled,
    )


_COLA = _task(
    'cola',
    'CoLA',
    'GLUE: English sentences, acceptable or not',
    CLASSIFY,
    _TWO,
    {'train': 8551, 'dev': 1043, 'test': 1063},
    _file('CoLA.zip', 'f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff'),
    # Only the test file has a header.
    {'text_a': ('sentence', 3), 'label': (1,)},
    'https://nyu-mll.github.io/CoLA/',
    'none stated',
)
_SST2 = _task(
    'sst-2',
    'SST-2',
    'GLUE: sentiment of phrases of English film reviews',
    CLASSIFY,
    _TWO,
    {'train': 67349, 'dev': 872, 'test': 1821},
    _file('SST-2.zip', 'd67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa'),
    _SENTENCE,
    'https://nlp.stanford.edu/sentiment/',
    'none stated',
)
_QQP = _task(
    'qqp',
    'QQP',
    'GLUE: do two English questions mean the same',
    PAIR,
    _TWO,
    {'train': 363846, 'dev': 40430, 'test': 390965},
    _file('QQP-clean.zip', '40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0'),
    {'text_a': ('question1',), 'text_b': ('question2',), 'label': ('is_duplicate',)},
    'https://data.quora.com/First-Quora-Dataset-Release-Question-Pairs',
    "Quora's terms of service, not for commerce",
)
_STSB = _task(
    'sts-b',
    'STS-B',
    'GLUE: likeness of English sentences, 0 to 5',
    REGRESSION,
    (),
    {'train': 5749, 'dev': 1500, 'test': 1379},
    _file('STS-B.zip', 'e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85'),
    {**_SENTENCES, 'label': ('score',)},
    'http://ixa2.si.ehu.es/stswiki/index.php/STSbenchmark',
    'several, see LICENSE.txt in the archive',
)
_MNLI = _task(
    'mnli',
    'MNLI',
    'GLUE: entailment, English; matched and mismatched',
    PAIR,
    _NLI,
    {'train': 392702, 'dev_matched': 9815, 'dev_mismatched': 9832, 'test_matched': 9796, 'test_mismatched': 9847},
    _file('MNLI.zip', 'e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633'),
    {**_SENTENCES, 'label': ('gold_label',)},
    'https://cims.nyu.edu/~sbowman/multinli/',
    'several, most of it OANC',
)
_QNLI = _task(
    'qnli',
    'QNLI',
    'GLUE: does an English sentence answer a question',
    PAIR,
    _ENTAILS,
    {'train': 104743, 'dev': 5463, 'test': 5463},
    _file('QNLIv2.zip', 'e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5'),
    {'text_a': ('question',), 'text_b': ('sentence',), 'label': ('label',)},
    'https://rajpurkar.github.io/SQuAD-explorer/',
    'CC BY-SA 4.0, as SQuAD',
)
_RTE = _task(
    'rte',
    'RTE',
    'GLUE: entailment, English',
    PAIR,
    _ENTAILS,
    {'train': 2490, 'dev': 277, 'test': 3000},
    _file('RTE.zip', '6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee'),
    _SENTENCES,
    'https://aclweb.org/aclwiki/Recognizing_Textual_Entailment',
    'none stated',
)
_WNLI = _task(
    'wnli',
    'WNLI',
    'GLUE: what a pronoun stands for, English',
    PAIR,
    _TWO,
    {'train': 635, 'dev': 71, 'test': 146},
    _file('WNLI.zip', 'ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46'),
    _SENTENCES,
    'https://cs.nyu.edu/faculty/davise/papers/WinogradSchemas/WS.html',
    'CC BY 4.0',
)
_AX = DataSet(
    'ax',
    'GLUE: the diagnostic set, for models of MNLI',
    PAIR,
    _NLI,
    {'test': 1104},
    (
        Part(
            (_file('AX.tsv', '0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd'),),
            Table({'test': r'AX\.tsv|diagnostic\.tsv'}, _SENTENCES, unlabelled=('test',)),
        ),
    ),
    'none stated',
    'https://gluebenchmark.com/diagnostics',
    other_names=('AX',),
    unlabelled=('test',),
)
_TRAINING = File(
    f'{_SENTEVAL}msr_paraphrase_train.txt',
    'sha256:60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89',
    'mrpc',
)
_TESTING = File(
    f'{_SENTEVAL}msr_paraphrase_test.txt',
    'sha256:a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784',
    'mrpc',
)
_IDS = File(
    f'{_STORE}mrpc_dev_ids.tsv', 'sha256:971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7', 'mrpc'
)
_MRPC = DataSet(
    'mrpc',
    'GLUE: do two English sentences mean the same',
    PAIR,
    _TWO,
    {'train': 3668, 'dev': 408, 'test': 1725},
    (
        Part((_IDS, _TRAINING), Paraphrases()),
        Part(
            (_TESTING,),
            Table(
                {'test': r'msr_paraphrase_test\.txt'},
                {'text_a': ('#1 String',), 'text_b': ('#2 String',), 'label': ('Quality',)},
            ),
        ),
    ),
    'Microsoft Research Shared Source, not for commerce',
    'https://www.microsoft.com/en-us/download/details.aspx?id=52398',
    terms='Microsoft gives it out to those who accept its licence; here is the copy that SentEval has.',
    other_names=('MRPC',),
)
GLUE = (_COLA, _SST2, _MRPC, _QQP, _STSB, _MNLI, _QNLI, _RTE, _WNLI, _AX)
