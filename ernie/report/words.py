"""Numbers in words."""


def duration(seconds):
    """Seconds as `3 h 5 min`, `2 min 7 s` or `9 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {seconds} s' if minutes else f'{seconds} s'
