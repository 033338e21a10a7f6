"""Machine reading comprehension: answers that are parts of a text."""
