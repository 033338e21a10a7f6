"""What a fine-tuning finds out of its training file before the model is built: survey, lengths, numbers."""

from typing import NamedTuple

from ernie.finetune.numbers import facts_of, open_numbers, plain_numbers, recorded_numbers, with_numbers
from ernie.finetune.recipe import Choice
from ernie.reader.dataset_folder import is_regular
from ernie.settings.finetune import FinetuneSettings
from ernie.survey.coverage import Coverage, coverage_of
from ernie.survey.survey import Survey
from propeller.errors import UsageError


class FoundOut(NamedTuple):
    """What was found out.

    Attributes:
        args: the settings, with numbers in the place of `auto`.
        survey: of the training file; None where nothing of it had to be known.
        coverage: of a sample of its texts by the vocabulary; None without a survey.
        chosen: dict name -> `Choice`, the numbers that were `auto`.
    """

    args: FinetuneSettings
    survey: Survey | None
    coverage: Coverage | None
    chosen: dict[str, Choice]


def find_out(args, spec, source, tokenizer, saved, survey, run, world):
    """What must be known of the training file -> `FoundOut`.

    Args:
        args: `FinetuneSettings`.
        spec: `TaskSpec`.
        source: `Source` of the model.
        tokenizer: that of the model.
        saved: dict, the labels.json of the checkpoint that is loaded, {} if there is none.
        survey: `Survey` of the training file; None: one is made where something must be found out.
        run: `TrainingRun`.
        world: `World`.
    Raises:
        UsageError: a number is `auto`, and the training file can be read once only.
        UserError: the training file is not as it must be.
    """
    coverage, chosen = None, {}
    if args.do_train and spec.survey:
        args = recorded_numbers(args) if run.resumes else args
        survey = survey or _survey(args, spec, saved)
        if survey:
            coverage = coverage_of(survey, tokenizer, args.for_cn)
        if open_numbers(args):
            args, chosen = with_numbers(args, facts_of(args, survey, coverage, source, world.size), world)
    return FoundOut(plain_numbers(args, source.config.max_position_embeddings), survey, coverage, chosen)


def _survey(args, spec, saved):
    """The `Survey` of the training file where something of it must be known, else None."""
    numbers = open_numbers(args)
    if args.train_set and not is_regular(args.train_set):
        if numbers:  # what can be read once only is not looked at before
            raise UsageError(f'--{numbers[0]} auto: {args.train_set} is no regular file; give a number.')
        return None
    known = args.label_map_config or saved.get('labels') or not spec.has_classes
    return spec.load('survey')(args.train_set, args) if numbers or not known else None


def training_texts(args, spec, survey):
    """Yields texts of the training file, where somebody asks for them. For the arguments see `find_out`."""
    if survey or (args.do_train and spec.survey and is_regular(args.train_set)):
        yield from (survey or spec.load('survey')(args.train_set, args)).texts()
