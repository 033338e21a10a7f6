"""A hook that remembers, for the tests of what checkpoints keep."""

from propeller.train.hooks import RunHook


class Counts(RunHook):
    """Notes the steps that it sees, those before a break included.

    Args:
        steps: list to note them in.
    """

    def __init__(self, steps):
        self.steps = steps

    def after_run(self, fetched, state):
        self.steps.append(state.gstep)

    def state_dict(self):
        return {'steps': self.steps}

    def load_state_dict(self, state):
        self.steps[:] = state['steps']


def with_hooks(build_model_spec, steps):
    """`build_model_spec` of a model that has a `Counts` for each list in `steps`, in training."""

    def build(*args):
        spec = build_model_spec(*args)
        return spec._replace(train_hooks=list(map(Counts, steps))) if spec.loss is not None else spec

    return build
