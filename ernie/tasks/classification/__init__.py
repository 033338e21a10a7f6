"""Classification, regression and multi-label classification of one text or a pair."""
