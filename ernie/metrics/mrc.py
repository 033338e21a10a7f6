"""EM and F1 of reading comprehension: CMRC 2018 (Chinese) and SQuAD 1.1 / 2.0 (English), by their definitions.

    python -m ernie.metrics.mrc TRUTH.json PREDICTION.json [--metric {cmrc,squad}]

prints EM, F1 (in percent) and the number of questions, one per line. PREDICTION.json is an object of question id ->
answer, the file `{phase}_predictions.json` of run_mrc.py.

Sources: Cui et al. 2019, "A Span-Extraction Dataset for Chinese Machine Reading Comprehension", section 4.1 (evaluator
v5); Rajpurkar et al. 2016, section 6.1; Rajpurkar et al. 2018 (unanswerable questions).
"""

import collections
import functools
import re
import string
import sys

import numpy as np

from ernie.reader.questions import read_questions
from ernie.reader.squad_json import load_json
from propeller.args import Parser
from propeller.errors import UserError, bad_input, one_line_errors, quoted
from propeller.progress import progress

METRICS = ('cmrc', 'squad')
# CMRC's list has the ellipsis as one item of two characters, which no single character equals: `…` stays.
CMRC_PUNCTUATION = frozenset('-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』')
_ENGLISH_PUNCTUATION = str.maketrans('', '', string.punctuation)
_ARTICLES = re.compile(r'\b(a|an|the)\b')


def evaluate(metric, answers, predictions, scores=None):
    """Scores of a set.

    Args:
        metric: one of `METRICS`.
        answers: dict question id -> list of answer texts, any of which is right; [] for a question without an answer.
        predictions: dict question id -> text. A question that is not there counts 0 and is named on stderr.
        scores: of `question_scores`, where they are known.

    Returns:
        dict: `em`, `f1`, `avg` (their mean), in percent; `questions`. When some, but not all, questions have no answer
        also `has_answer_em`, `has_answer_f1`, `no_answer_em`, `no_answer_f1` over these parts.
    """
    scores = question_scores(metric, answers, predictions) if scores is None else scores
    for key in answers:
        if key not in predictions:
            print(f'Unanswered question: {key}', file=sys.stderr)
    em, f1 = _percent(scores.values())
    result = {'em': em, 'f1': f1, 'avg': (em + f1) / 2, 'questions': len(scores)}
    parts = {'has_answer': [k for k, t in answers.items() if t], 'no_answer': [k for k, t in answers.items() if not t]}
    if all(parts.values()):
        for name, keys in parts.items():
            result[f'{name}_em'], result[f'{name}_f1'] = _percent(scores[key] for key in keys)
    return result


def question_scores(metric, answers, predictions):
    """dict question id -> (EM, F1), 0 ... 1 each. For the arguments see `evaluate`."""
    score = {'cmrc': cmrc_scores, 'squad': squad_scores}[metric]
    return {
        key: score(texts, predictions[key]) if key in predictions else (0.0, 0.0)
        for key, texts in progress(answers.items(), 'scoring', len(answers), 'questions')
    }


def _percent(scores):
    em, f1 = np.mean([*scores] or [(0.0, 0.0)], axis=0)
    return 100 * float(em), 100 * float(f1)


# ---------------------------------------------------------------- CMRC 2018


def cmrc_scores(answers, prediction):
    """(EM, F1) of a text beside its best answer, each 0 ... 1; without any, right is one of which nothing is left."""
    plain = cmrc_plain(prediction)
    if not answers:
        return float(not plain), float(not plain)
    em = max(float(cmrc_plain(answer) == plain) for answer in answers)
    return em, max(cmrc_f1(answer, prediction) for answer in answers)


def cmrc_plain(text):
    """Lower case, without outer white space and CMRC's punctuation; other white space stays."""
    return ''.join(char for char in text.lower().strip() if char not in CMRC_PUNCTUATION)


@functools.lru_cache(maxsize=1 << 16)
def mixed_segmentation(text, remove_punctuation=False):
    """CMRC's segments of a text, a tuple: each Chinese character (4E00-9FA5) and each punctuation character for itself,
    what lies between cut into words by NLTK's tokenizer.

    Punctuation that is removed does not part what stands around it, as in the published program.
    """
    segments, run = [], []
    for char in text.lower().strip():
        if remove_punctuation and char in CMRC_PUNCTUATION:
            continue
        if '\u4e00' <= char <= '\u9fa5' or char in CMRC_PUNCTUATION:
            segments += _words(''.join(run))
            segments.append(char)
            run = []
        else:
            run.append(char)
    return (*segments, *_words(''.join(run)))


def cmrc_f1(answer, prediction):
    """F1 of the longest common contiguous run of segments, 0 ... 1."""
    answer, prediction = mixed_segmentation(answer, True), mixed_segmentation(prediction, True)
    common = longest_common_run(answer, prediction)
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(answer)
    return 2 * precision * recall / (precision + recall)


def longest_common_run(a, b):
    """Length of the longest run of neighbours that two sequences share. O(len(a) * len(b)), the longer one in numpy."""
    if not a or not b:
        return 0
    numbers = {item: i for i, item in enumerate(dict.fromkeys((*a, *b)))}
    short, long = sorted(([numbers[item] for item in sequence] for sequence in (a, b)), key=len)
    long, lengths, best = np.array(long), np.zeros(len(long) + 1, np.int64), 0
    for item in short:
        lengths[1:] = np.where(long == item, lengths[:-1] + 1, 0)
        best = max(best, int(lengths.max()))
    return best


def _words(text):
    return _tokenizer().tokenize(text) if text else []


@functools.lru_cache(maxsize=1)
def _tokenizer():
    # The tokenizer behind `nltk.word_tokenize`, without the sentence splitter, whose model must be downloaded.
    try:
        from nltk.tokenize import NLTKWordTokenizer
    except ImportError as e:
        raise UserError('the CMRC score needs the package nltk, 3.8 or later. Run: pip install "nltk>=3.8"') from e
    return NLTKWordTokenizer()


# ---------------------------------------------------------------- SQuAD


def squad_normalize(text):
    """Lower case, without punctuation (ASCII) and articles, white space as single spaces."""
    return ' '.join(_ARTICLES.sub(' ', text.lower().translate(_ENGLISH_PUNCTUATION)).split())


def squad_scores(answers, prediction):
    """(EM, F1) of a text beside its best answer, each 0 ... 1.

    By the rule of SQuAD 2.0, answers of which nothing is left ("A", "the") are dropped; where none stays, the right
    answer is the empty one. SQuAD 1.1 has no such rule, and F1 0 for an "A" that was found.
    """
    prediction = squad_normalize(prediction)
    answers = [plain for plain in map(squad_normalize, answers) if plain] or ['']
    return float(prediction in answers), max(squad_f1(answer, prediction) for answer in answers)


def squad_f1(answer, prediction):
    """F1 of the bags of words of two normalized texts, 0 ... 1; of texts without words 1 if both are such, else 0."""
    answer, prediction = answer.split(), prediction.split()
    if not answer or not prediction:
        return float(answer == prediction)
    common = sum((collections.Counter(answer) & collections.Counter(prediction)).values())
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(answer)
    return 2 * precision * recall / (precision + recall)


# ---------------------------------------------------------------- command line


def answers_of(questions):
    """dict question id -> list of answer texts, [] for those without an answer. questions: list of `Question`."""
    return {question.id: [text for text, _ in question.answers] for question in questions}


def load_predictions(path):
    """A file of predictions: dict question id -> text.

    Raises:
        UserError: it is no such file.
    """
    expected = 'a JSON object of question id -> answer'
    predictions, _ = load_json(path, expected)
    if not isinstance(predictions, dict):
        raise bad_input(path, f'a JSON {type(predictions).__name__}', expected)
    for key, text in predictions.items():
        if not isinstance(text, str):
            raise bad_input(path, f'question {quoted(key)}: {type(text).__name__}', f'text in {expected}')
    return predictions


def load_truth(path):
    """The answers of a file of questions, see `answers_of`.

    Raises:
        UserError: the file, or a question without answers that is not marked as unanswerable.
    """
    questions = read_questions(path, scored=True).questions
    for question in questions:
        if not question.answers and not question.is_impossible:
            found = f'question {quoted(question.id)}: no answers'
            raise bad_input(path, found, 'at least one, or "is_impossible": true')
    return answers_of(questions)


def main(argv=None, prog=None):
    """Print the scores of a prediction file."""
    parser = Parser(prog=prog or 'python -m ernie.metrics.mrc', description=__doc__.split('\n')[0])
    parser.add_argument('truth', metavar='TRUTH.json', help='SQuAD-form file with the answers')
    parser.add_argument('prediction', metavar='PREDICTION.json', help='object of question id -> answer')
    parser.add_argument('--metric', choices=METRICS, default='cmrc', help='whose definition (default: cmrc)')
    args = parser.parse_args(argv)
    result = evaluate(args.metric, load_truth(args.truth), load_predictions(args.prediction))
    for name in ('em', 'f1', 'questions'):
        print(result[name])


if __name__ == '__main__':
    with one_line_errors():
        main()
