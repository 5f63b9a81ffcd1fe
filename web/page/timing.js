// The time of a run, by a clock that may tick more slowly than a small network runs.

const BATCH_MS = 4;
const BUDGET_MS = 500;
const MOST_BATCHES = 25;

/** Median milliseconds of a run of each of the functions, whose batches take turns, so that what disturbs one disturbs all. */
export function beside(runs) {
  const batches = runs.map(batch);
  const times = runs.map(() => []);
  const begin = performance.now();
  do {
    runs.forEach((run, index) => times[index].push(timed(run, batches[index])));
  } while (times[0].length < MOST_BATCHES && performance.now() - begin < BUDGET_MS * runs.length);
  return times.map(median);
}

/** How many runs are long enough for the clock; the first are warm-up. */
function batch(run) {
  for (let runs = 1; ; runs *= 2) {
    const took = timed(run, runs) * runs;
    if (took >= BATCH_MS || runs >= 4096) return runs;
  }
}

/** Milliseconds a run. */
function timed(run, runs) {
  const start = performance.now();
  for (let i = 0; i < runs; i++) run();
  return (performance.now() - start) / runs;
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
