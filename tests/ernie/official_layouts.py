"""Tiny files as the publishers of the data sets lay theirs out; the texts are our own."""

import io
import json
import tarfile
import zipfile

HTML = 'It is <b>not</b> good.<br /><br />"Slow",\tand long .  <br />The end'
NSMC = 'id\tdocument\tlabel\n1\t"재미있다 ㅋㅋ\t1\n2\t\t0\n3\t지루함 "" 그만 \t0\n'
PHRASES = 'sentence\tlabel\nit \'s "fine \t1\nno good at all \t0\n'
NLI_HEADER = 'index\tpromptID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n'
XNLI_HEADER = 'language\tgold_label\tsentence1_binary_parse\tsentence1\tsentence2\tpromptID\n'
PARAPHRASES = (
    '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n'
    '1\t10\t11\tHe said "yes\tHe agreed .\r\n'
    '0\t12\t13\tIt rains .\tIt snows .\r\n'
)
QUESTIONS = {
    'version': 'v1.0',
    'data': [
        {
            'title': '北京',
            'id': '1',
            'paragraphs': [
                {
                    'id': '1',
                    'context': '王明在北京工作。',
                    'qas': [
                        {'id': 'q1', 'question': '王明在哪里？', 'answers': [{'text': '北京', 'answer_start': 3}]},
                        {'id': 'q2', 'question': '谁在北京？', 'answers': [{'text': '王明', 'answer_start': 0}]},
                    ],
                }
            ],
        }
    ],
}
SQUAD = json.dumps(QUESTIONS, ensure_ascii=False)


def tar_gz(files):
    """The bytes of a tar.gz. files: dict name -> str or bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz', compresslevel=1) as archive:
        for name, content in files.items():
            info, data = tarfile.TarInfo(name), _bytes(content)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zipped(files):
    """The bytes of a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, _bytes(content))
    return buffer.getvalue()


def _bytes(content):
    return content.encode() if isinstance(content, str) else content


def reviews():
    """dict name -> text of a few reviews, as in aclImdb: numbers that do not sort as texts do, and what is left out."""
    files = {'aclImdb/README': 'Large Movie Review Dataset', 'aclImdb/train/unsup/0_0.txt': 'nobody knows'}
    for split, count in (('train', 12), ('test', 3)):
        for number in range(count):
            files[f'aclImdb/{split}/neg/{number}_3.txt'] = f'bad film number {number}. {HTML}'
            files[f'aclImdb/{split}/pos/{number}_9.txt'] = f'good film number {number} é'
        files[f'aclImdb/{split}/urls_pos.txt'] = 'http://www.imdb.com/title/tt0064354/usercomments'
    return files


def _splits(train, dev, test=None, folder=''):
    return {f'{folder}train.tsv': train, f'{folder}dev.tsv': dev, f'{folder}test.tsv': test or dev}


_CHN = 'label\ttext_a\n1\t房间"很大\n0\t 不好 \n'
_LCQMC = 'text_a\ttext_b\tlabel\n谁是王明\t王明是谁\t1\n几点了\t你好\t0\n'
_MSRA = 'text_a\tlabel\n王\x02明\x02在\x02北\x02京\tB-PER\x02I-PER\x02O\x02B-LOC\x02I-LOC\n'
_MNLI = NLI_HEADER + '0\t7\tfiction\tA dog "runs\tAn animal moves\tneutral\tentailment\n'
_XNLI = XNLI_HEADER + 'fr\tneutral\t\tBonjour\tSalut\t1\nzh\tentailment\t\t他说：“你好”\t他说话\t1\n'
_XNLI += 'zh\tcontradiction\t\t下雨\t晴天\t2\n'
_COLA = 'gj04\t1\t\tOur friends won\'t buy it.\ngj04\t0\t*\tThey "drank the pub.\n'
_SIMILAR = 'index\tgenre\tsentence1\tsentence2\tscore\n0\tnews\tA plane.\tAn air plane.\t5.000\n1\tnews\tA\tB\t0.25\n'
_PAIRS = 'index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tWet.\tentailment\n1\tIt "rains.\tDry.\tnot_entailment\n'
_NO_LABELS = 'index\tsentence1\tsentence2\n0\tIt rains.\tWet.\n'

# name of a data set -> dict name of a file on its server -> its bytes.
SERVED = {
    'chnsenticorp': {'chnsenticorp.tar.gz': tar_gz(_splits(_CHN, _CHN, folder='chnsenticorp/'))},
    'lcqmc': {'lcqmc.tar.gz': tar_gz(_splits(_LCQMC, _LCQMC.partition('\n')[2], folder='lcqmc/'))},
    'msra-ner': {'msra_ner.tar.gz': tar_gz(_splits(_MSRA, _MSRA, folder='msra_ner/'))},
    'imdb': {'aclImdb_v1.tar.gz': tar_gz(reviews())},
    'nsmc': {f'ratings_{split}.txt': NSMC.encode() for split in ('train', 'test')},
    'cmrc2018': {f'cmrc2018_{split}.json': SQUAD.encode() for split in ('train', 'dev', 'trial')},
    'drcd': {f'DRCD_{split}.json': SQUAD.encode() for split in ('training', 'dev', 'test')},
    'thucnews-titles': {
        f'{split}.txt': '词汇阅读是关键 08年考研\t3\n中华女子学院：本科层次\t9\n'.encode()
        for split in ('train', 'dev', 'test')
    },
    'xnli': {
        'XNLI-MT-1.0.zip': zipped(
            {
                'XNLI-MT-1.0/multinli/multinli.train.zh.tsv': 'premise\thypo\tlabel\n我 们\t他 们\tcontradictory\n'
                '从 概念\t产品\tneutral\n',
                'XNLI-MT-1.0/multinli/multinli.train.fr.tsv': 'premise\thypo\tlabel\nnous\teux\tneutral\n',
                '__MACOSX/XNLI-MT-1.0/multinli/._multinli.train.zh.tsv': b'\0\5\x16\7',
            }
        ),
        'XNLI-1.0.zip': zipped({'XNLI-1.0/xnli.dev.tsv': _XNLI, 'XNLI-1.0/xnli.test.tsv': _XNLI}),
    },
    'cola': {'CoLA.zip': zipped(_splits(_COLA, _COLA, 'index\tsentence\n0\tBill whistled.\n', 'CoLA/'))},
    'sst-2': {'SST-2.zip': zipped(_splits(PHRASES, PHRASES, 'index\tsentence\n0\tuneasy "mishmash\n', 'SST-2/'))},
    'sts-b': {
        'STS-B.zip': zipped(_splits(_SIMILAR, _SIMILAR, 'index\tsentence1\tsentence2\n0\tA\tB\n', 'STS-B/')),
    },
    'qqp': {
        'QQP-clean.zip': zipped(
            _splits(
                'id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tWhy?\tHow?\t0\n9\tbroken\n',
                'id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tWhy "so?\tWhy?\t1\n',
                'id\tquestion1\tquestion2\n0\tWho?\tWhen?\n',
                'QQP/',
            )
        )
    },
    'mnli': {
        'MNLI.zip': zipped(
            {
                'MNLI/train.tsv': _MNLI,
                'MNLI/dev_matched.tsv': _MNLI,
                'MNLI/dev_mismatched.tsv': _MNLI + _MNLI.partition('\n')[2],
                'MNLI/test_matched.tsv': 'index\tsentence1\tsentence2\n0\tA\tB\n',
                'MNLI/test_mismatched.tsv': 'index\tsentence1\tsentence2\n0\tA\tB\n',
                'MNLI/original/multinli_1.0_train.txt': 'gold_label\tsentence1\n',
            }
        )
    },
    'qnli': {
        'QNLIv2.zip': zipped(
            _splits(
                _PAIRS.replace('sentence1', 'question').replace('sentence2', 'sentence'),
                _PAIRS.replace('sentence1', 'question').replace('sentence2', 'sentence'),
                'index\tquestion\tsentence\n0\tWhy?\tSo.\n',
                'QNLI/',
            )
        )
    },
    'rte': {'RTE.zip': zipped(_splits(_PAIRS, _PAIRS, _NO_LABELS, 'RTE/'))},
    'wnli': {
        'WNLI.zip': zipped(
            _splits(*[_PAIRS.replace('not_entailment', '0').replace('entailment', '1')] * 2, _NO_LABELS, 'WNLI/')
        )
    },
    'ax': {'AX.tsv': _NO_LABELS.encode()},
    'mrpc': {
        'mrpc_dev_ids.tsv': b'12\t13\n',
        'msr_paraphrase_train.txt': PARAPHRASES.encode(),
        'msr_paraphrase_test.txt': PARAPHRASES.encode(),
    },
}
NEWS = {
    f'THUCNews/{topic}/{number}.txt': f'{topic}新闻{number}\n　　第一段{number}。\n　　第二段\n'
    for topic, numbers in (('体育', range(7)), ('财经', range(7, 20)))
    for number in numbers
}
