"""EM and F1 of reading comprehension, written a second time from the published definitions, plainly and slowly.

`ernie.metrics.mrc` is compared with them by the tests on made-up answers and by `evaluators` on the predictions of
a model. Sources: the evaluation program of CMRC 2018 (version 5; Cui et al. 2019, section 4.1) and that
of SQuAD 2.0 (Rajpurkar et al. 2016, section 6.1; Rajpurkar et al. 2018). NLTK's word tokenizer cuts the words of Latin
letters, as there.
"""

import collections
import re
import string

import nltk

CMRC_LIST = [*'-:_*^/\\~`+=，。：？！“”；’《》', '……', *'·、「」（）－～『』']


def cmrc_segments(text):
    """Lower case; punctuation left out; each Chinese character for itself, the rest in words."""
    result, run = [], ''
    for char in str(text).lower().strip():
        if char in CMRC_LIST:
            continue
        if re.search('[\u4e00-\u9fa5]', char):
            if run != '':
                result.extend(nltk.word_tokenize(run, preserve_line=True))
                run = ''
            result.append(char)
        else:
            run += char
    if run != '':
        result.extend(nltk.word_tokenize(run, preserve_line=True))
    return result


def common_run(a, b):
    """Length of the longest run of neighbours that two lists share."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a)):
        for j in range(len(b)):
            if a[i] == b[j]:
                table[i + 1][j + 1] = table[i][j] + 1
    return max(max(row) for row in table)


def cmrc_once(answers, prediction):
    """(EM, F1) of one prediction by CMRC 2018, each 0 ... 1."""

    def plain(text):
        return ''.join(c for c in text.lower().strip() if c not in CMRC_LIST)

    best = 0.0
    for answer in answers:
        truth, guess = cmrc_segments(answer), cmrc_segments(prediction)
        common = common_run(truth, guess)
        if common:
            p, r = common / len(guess), common / len(truth)
            best = max(best, 2 * p * r / (p + r))
    return float(any(plain(a) == plain(prediction) for a in answers)), best


def squad_plain(text):
    """Lower case, without ASCII punctuation, articles and superfluous white space."""
    text = ''.join(c for c in text.lower() if c not in set(string.punctuation))
    return ' '.join(re.sub(r'\b(a|an|the)\b', ' ', text).split())


def squad_once(answers, prediction):
    """(EM, F1) of one prediction by SQuAD 2.0, each 0 ... 1.

    For answers with words that is SQuAD 1.1 too. The others are left out; if all are, the answer is the empty text.
    """
    answers = [answer for answer in answers if squad_plain(answer) != '']
    if not answers:
        right = float(squad_plain(prediction) == '')
        return right, right
    best = 0.0
    for answer in answers:
        guess, truth = squad_plain(prediction).split(), squad_plain(answer).split()
        same = sum((collections.Counter(guess) & collections.Counter(truth)).values())
        if same:
            p, r = same / len(guess), same / len(truth)
            best = max(best, 2 * p * r / (p + r))
    return float(any(squad_plain(a) == squad_plain(prediction) for a in answers)), best


ONCE = {'cmrc': cmrc_once, 'squad': squad_once}


def questions_of(document):
    """Yields (id, context, answer texts) of a parsed SQuAD-form file."""
    for article in document['data']:
        for paragraph in article['paragraphs']:
            for entry in paragraph['qas']:
                yield entry['id'], paragraph['context'], [a['text'] for a in entry['answers']]
