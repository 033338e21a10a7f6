"""The data sets. For each: where its address, its checksum and the number of its rows were read."""

import re

from ernie.zoo.data_sets.entries import CLASSIFY, PAIR, READ, TAG, DataSet, File, Part
from ernie.zoo.data_sets.glue import GLUE
from ernie.zoo.data_sets.layouts import ClassFolders, Squad, Table

_HUB = 'https://bj.bcebos.com/paddlehub-dataset/'
_RAW = 'https://raw.githubusercontent.com/'
_THREE = ('train', 'dev', 'test')
_TSV = {split: rf'{split}\.tsv' for split in _THREE}
_PAIR = {'text_a': ('text_a', 0), 'text_b': ('text_b', 1), 'label': ('label', 2)}

# PaddleHub, paddlehub/dataset/chnsenticorp.py; MD5: PaddleNLP, paddlenlp/datasets/chnsenticorp.py of 2020. Rows: ymcui,
# Chinese-BERT-wwm.
_CHNSENTICORP = DataSet(
    'chnsenticorp',
    'sentiment of Chinese reviews: hotels, books, notebooks',
    CLASSIFY,
    ('0', '1'),
    {'train': 9600, 'dev': 1200, 'test': 1200},
    (
        Part(
            (File(f'{_HUB}chnsenticorp.tar.gz', 'md5:fbb3217aeac76a2840d2d5cd19688b07', 'chnsenticorp'),),
            Table(_TSV, {'text_a': ('text_a', 1), 'label': ('label', 0)}),
        ),
    ),
    'none stated',
    'https://github.com/PaddlePaddle/PaddleHub',
)
# PaddleHub, paddlehub/dataset/lcqmc.py; MD5: PaddleNLP, docs/data_prepare. Rows: the paper (C18-1166).
_LCQMC = DataSet(
    'lcqmc',
    'do two Chinese questions mean the same',
    PAIR,
    ('0', '1'),
    {'train': 238766, 'dev': 8802, 'test': 12500},
    (Part((File(f'{_HUB}lcqmc.tar.gz', 'md5:62a7ba36f786a82ae59bbde0b0a9af0c', 'lcqmc'),), Table(_TSV, _PAIR)),),
    'for research, by application to the authors',
    'https://aclanthology.org/C18-1166/',
    terms='Its authors (HIT Shenzhen) give it out on application; here is the copy that PaddleHub has.',
)
# PaddleHub, paddlehub/dataset/msra_ner.py. Rows: PaddlePaddle/ERNIE, README of 2019.
_MSRA = DataSet(
    'msra-ner',
    'persons, places, organisations in Chinese news',
    TAG,
    ('B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'B-LOC', 'I-LOC', 'O'),
    {'train': 20864, 'dev': 2318, 'test': 4636},
    (
        Part(
            (File(f'{_HUB}msra_ner.tar.gz', '', 'msra_ner'),),
            Table(_TSV, {'text_a': ('text_a', 0), 'label': ('label', 1)}),
        ),
    ),
    'Microsoft Research, for research',
    'https://www.microsoft.com/en-us/download/details.aspx?id=52531',
    other_names=('MSRA', 'MSRA_NER'),
)
# ai.stanford.edu/~amaas/data/sentiment; SHA-256 and rows: Hugging Face's datasets, datasets/imdb/dataset_infos.json.
_IMDB = DataSet(
    'imdb',
    'sentiment of long English film reviews',
    CLASSIFY,
    ('neg', 'pos'),
    {'train': 25000, 'test': 25000},
    (
        Part(
            (
                File(
                    'https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz',
                    'sha256:c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe',
                    'imdb',
                ),
            ),
            ClassFolders(
                re.compile(r'(?:.*/)?(?P<split>train|test)/(?P<label>neg|pos)/(?P<number>[0-9]{1,9})_[0-9]+\.txt'),
                ('train', 'test'),
            ),
        ),
    ),
    'none stated; cite Maas et al., ACL 2011',
    'https://ai.stanford.edu/~amaas/data/sentiment/',
    other_names=('aclImdb',),
)
# github.com/e9t/nsmc; SHA-256 and rows: Hugging Face's datasets, datasets/nsmc/dataset_infos.json.
_NSMC = DataSet(
    'nsmc',
    'sentiment of short Korean film reviews',
    CLASSIFY,
    ('0', '1'),
    {'train': 150000, 'test': 50000},
    tuple(
        Part(
            (File(f'{_RAW}e9t/nsmc/master/ratings_{split}.txt', f'sha256:{sha256}', 'nsmc'),),
            Table({split: rf'ratings_{split}\.txt'}, {'text_a': ('document',), 'label': ('label',)}),
        )
        for split, sha256 in (
            ('train', 'e03b7d14e9e41be8d464a28057cd25d7396c53e67aa7fd5f7e552c59b0ee2940'),
            ('test', '8ac9f64052f11dbf6ae0acb5e038f03d90a76f0eda7820cfb3a92d02edfcebda'),
        )
    ),
    'CC0 1.0',
    'https://github.com/e9t/nsmc',
    other_names=('Naver',),
)
# github.com/ymcui/cmrc2018; SHA-256 and rows: Hugging Face's datasets, datasets/cmrc2018/dataset_infos.json. The dev
# and trial files in the repository have the same.
_CMRC2018 = DataSet(
    'cmrc2018',
    'questions about Chinese Wikipedia, simplified',
    READ,
    (),
    {'train': 10142, 'dev': 3219, 'trial': 1002},
    tuple(
        Part(
            (
                File(
                    f'{_RAW}ymcui/cmrc2018/master/squad-style-data/cmrc2018_{split}.json',
                    f'sha256:{sha256}',
                    'cmrc2018',
                ),
            ),
            Squad({split: rf'cmrc2018_{split}\.json'}),
        )
        for split, sha256 in (
            ('train', '5497aa2f81908e31d6b0e27d99b1f90ab63a8f58fa92fffe5d17cf62eba0c212'),
            ('dev', 'e9ff74231f05c230c6fa88b84441ee334d97234cbb610991cd94b82db00c7f1f'),
            ('trial', 'f3fae95b57da8e03afb2b57467dd221417060ef4d82db13bf22fc88589f3a6f3'),
        )
    ),
    'CC BY-SA 4.0',
    'https://github.com/ymcui/cmrc2018',
)
# github.com/DRCKnowledgeTeam/DRCD; MD5: PaddleNLP, paddlenlp/datasets/drcd.py. The dev file in the repository has the
# same. Rows: the paper (arXiv 1806.00920).
_DRCD = DataSet(
    'drcd',
    'questions about Chinese Wikipedia, traditional',
    READ,
    (),
    {'train': 26936, 'dev': 3524, 'test': 3493},
    tuple(
        Part(
            (File(f'{_RAW}DRCKnowledgeTeam/DRCD/master/DRCD_{name}.json', f'md5:{md5}', 'drcd'),),
            Squad({split: rf'DRCD_{name}\.json'}),
        )
        for split, name, md5 in (
            ('train', 'training', 'bbeefc8ad7585ea3e4fef8c677e7643e'),
            ('dev', 'dev', '42c2f2bca84fc36cf65a86563b0540e6'),
            ('test', 'test', 'e36a295c1cb8c6b9fb28015907a42d9e'),
        )
    ),
    'CC BY-SA 3.0',
    'https://github.com/DRCKnowledgeTeam/DRCD',
)
_TOPICS = (
    *('体育', '娱乐', '家居', '彩票', '房产', '教育', '时尚'),
    *('时政', '星座', '游戏', '社会', '科技', '股票', '财经'),
)


def _split_of_number(number):
    """THUCNews has no splits of its own: of ten numbers, eight are to train, one each to evaluate and to test."""
    return {8: 'dev', 9: 'test'}.get(number % 10, 'train')


# thuctc.thunlp.org: given out to those who say who they are. 740,000 texts, says the page.
_THUCNEWS = DataSet(
    'thucnews',
    'topics of Chinese news, whole texts, 14 classes',
    CLASSIFY,
    _TOPICS,
    dict.fromkeys(_THREE),
    (
        Part(
            (),
            ClassFolders(
                re.compile(rf'(?:.*/)?(?P<label>{"|".join(_TOPICS)})/(?P<number>[0-9]{{1,9}})\.txt'),
                _THREE,
                _split_of_number,
                sort=False,
            ),
        ),
    ),
    'for research, by registration',
    'http://thuctc.thunlp.org/',
    terms='Tsinghua University gives THUCNews.zip out to those who register at http://thuctc.thunlp.org/.',
)
_TITLES = (
    *('finance', 'realty', 'stocks', 'education', 'science', 'society', 'politics', 'sports', 'game'),
    'entertainment',
)
# github.com/649453932/Bert-Chinese-Text-Classification-Pytorch, THUCNews/data; rows and classes: its README, class.txt.
_THUCNEWS_TITLES = DataSet(
    'thucnews-titles',
    'topics of Chinese headlines, 10 classes',
    CLASSIFY,
    _TITLES,
    {'train': 180000, 'dev': 10000, 'test': 10000},
    tuple(
        Part(
            (
                File(
                    f'{_RAW}649453932/Bert-Chinese-Text-Classification-Pytorch/master/THUCNews/data/{split}.txt',
                    '',
                    'thucnews_titles',
                ),
            ),
            Table(
                {split: rf'{split}\.txt'},
                {'text_a': (0,), 'label': (1,)},
                called={str(number): name for number, name in enumerate(_TITLES)},
            ),
        )
        for split in _THREE
    ),
    'none stated; THUCNews is for research',
    'https://github.com/649453932/Bert-Chinese-Text-Classification-Pytorch',
)
_LANGUAGES = {
    'ar': 'Arabic',
    'bg': 'Bulgarian',
    'de': 'German',
    'el': 'Greek',
    'en': 'English',
    'es': 'Spanish',
    'fr': 'French',
    'hi': 'Hindi',
    'ru': 'Russian',
    'sw': 'Swahili',
    'th': 'Thai',
    'tr': 'Turkish',
    'ur': 'Urdu',
    'vi': 'Vietnamese',
    'zh': 'Chinese',
}
_XNLI_FILES = 'https://dl.fbaipublicfiles.com/XNLI/'


def _xnli(language):
    """XNLI in one language, which is Chinese where none is said.

    github.com/facebookresearch/XNLI; SHA-256 and rows: Hugging Face's datasets, datasets/xnli/dataset_infos.json.
    """
    return DataSet(
        'xnli' if language == 'zh' else f'xnli-{language}',
        f'entailment, {_LANGUAGES[language]}' + ('; xnli-en, xnli-fr ...: others' if language == 'zh' else ''),
        PAIR,
        ('contradiction', 'entailment', 'neutral'),
        {'train': 392702, 'dev': 2490, 'test': 5010},
        (
            Part(
                (
                    File(
                        f'{_XNLI_FILES}XNLI-MT-1.0.zip',
                        'sha256:f732517ba2fb1d550e9f3c2aabaef6017c91ee2dcec90e878f138764d224db05',
                        'xnli',
                    ),
                ),
                Table(
                    {'train': rf'multinli\.train\.{language}\.tsv'},
                    {'text_a': ('premise',), 'text_b': ('hypo',), 'label': ('label',)},
                    called={'contradictory': 'contradiction'},
                ),
            ),
            Part(
                (
                    File(
                        f'{_XNLI_FILES}XNLI-1.0.zip',
                        'sha256:4ba1d5e1afdb7161f0f23c66dc787802ccfa8a25a3ddd3b165a35e50df346ab1',
                        'xnli',
                    ),
                ),
                Table(
                    {'dev': r'xnli\.dev\.tsv', 'test': r'xnli\.test\.tsv'},
                    {'text_a': ('sentence1',), 'text_b': ('sentence2',), 'label': ('gold_label',)},
                    only=('language', language),
                ),
            ),
        ),
        'CC BY-NC 4.0',
        'https://github.com/facebookresearch/XNLI',
        other_names=(f'xnli-{language}',),
        variant_of='' if language == 'zh' else 'xnli',
    )


_ALL = (
    *(_CHNSENTICORP, _LCQMC, _xnli('zh'), _THUCNEWS, _THUCNEWS_TITLES, _MSRA, _CMRC2018, _DRCD, _NSMC, _IMDB, *GLUE),
    *(_xnli(language) for language in _LANGUAGES if language != 'zh'),
)
DATA_SETS = {data_set.name: data_set for data_set in _ALL}
