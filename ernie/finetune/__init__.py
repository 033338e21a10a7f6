"""Fine-tuning. `ernie.finetune(...)` is a call as well, see `ernie.api.finetune`: this package can be called."""

import sys
import types


class _Package(types.ModuleType):
    def __call__(self, *task, **settings):
        from ernie.api import finetune

        return finetune(*task, **settings)


sys.modules[__name__].__class__ = _Package
