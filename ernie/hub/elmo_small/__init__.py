"""`elmo_small`, what `hub.Module(name="elmo")` is."""

from ernie.hub.elmo_small.making import described, make, module_folder

__all__ = ['described', 'make', 'module_folder']
