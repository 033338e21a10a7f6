"""Model checkpoints of all known formats by ERNIE's parameter names: open, compare strictly, convert, inspect."""

from ernie.checkpoint.model_folder import Model, open_model
from ernie.checkpoint.strict import Match, check_labels, match_parameters
from ernie.model.encoders import backbone_shapes

__all__ = ['Match', 'Model', 'backbone_shapes', 'check_labels', 'match_parameters', 'open_model']
