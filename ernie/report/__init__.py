"""Reports of a run, made of what is in its folder: wrong rows, pictures, report.html, model card, comparison."""
