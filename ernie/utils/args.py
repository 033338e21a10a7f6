"""The parser of flags by the name of 2019; it stands in propeller."""

from propeller.args import ArgumentGroup, Parser, boolean, print_arguments, settings_lines, split_list

__all__ = ['ArgumentGroup', 'Parser', 'boolean', 'print_arguments', 'settings_lines', 'split_list']
