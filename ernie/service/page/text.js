// Texts and numbers as they are shown.

/**
 * The pieces of a text between offsets that count characters as Python does (code points), where JavaScript's
 * strings count halves of them: an emoji or a rare Chinese character is one in Python and two here.
 * spans: list of { start, end }, in any order; one that begins inside another is left out.
 * Returns a list of [piece, span or null] that together are the text.
 */
export function pieces(text, spans) {
  const points = Array.from(text), found = [];
  let done = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (span.start < done || span.end <= span.start || span.end > points.length) continue;
    if (span.start > done) found.push([points.slice(done, span.start).join(''), null]);
    found.push([points.slice(span.start, span.end).join(''), span]);
    done = span.end;
  }
  if (done < points.length) found.push([points.slice(done).join(''), null]);
  return found;
}

export function short(text, most = 40) {
  const points = Array.from(text);
  return points.length > most ? points.slice(0, most - 1).join('') + '…' : text;
}

/** A share as per cent; what is neither 0 nor 1 is not shown as if it were. */
export function percent(share) {
  const shown = (100 * share).toFixed(1);
  if (shown === '100.0' && share < 1) return '> 99.9 %';
  if (shown === '0.0' && share > 0) return '< 0.1 %';
  return `${shown} %`;
}

export function duration(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  const milliseconds = 1000 * seconds;
  return `${milliseconds.toFixed(milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0)} ms`;
}
