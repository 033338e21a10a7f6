// Similarity of vectors.

/** The cosines of vectors, list of lists; 0 where one of the two is a vector of zeros. */
export function cosines(vectors) {
  const lengths = vectors.map(vector => Math.sqrt(dot(vector, vector)));
  return vectors.map((a, i) => vectors.map((b, j) => {
    const scale = lengths[i] * lengths[j];
    return scale ? Math.max(-1, Math.min(1, dot(a, b) / scale)) : 0;
  }));
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** For each vector the place of the most similar other one, -1 where there is no other. */
export function nearest(matrix) {
  return matrix.map((row, i) => row.reduce((best, value, j) => (j !== i && (best < 0 || value > row[best]) ? j : best), -1));
}
