// The time of a run, by a clock that may tick more slowly than a small network runs.

const BATCH_MS = 4;
const BUDGET_MS = 500;
const MOST_BATCHES = 25;
/** A browser compiles what is hot a second time while it runs: warm is what has not become faster by a tenth for so long. */
const WARM_MS = 400;
const MOST_WARM_MS = 3000;

/** Median milliseconds of a run of each of the functions, whose batches take turns, so that what disturbs one disturbs all. */
export function beside(runs) {
  runs.forEach(warm);
  const batches = runs.map(batch);
  const times = runs.map(() => []);
  const begin = performance.now();
  do {
    runs.forEach((run, index) => times[index].push(timed(run, batches[index])));
  } while (times[0].length < MOST_BATCHES && performance.now() - begin < BUDGET_MS * runs.length);
  return times.map(median);
}

function warm(run) {
  const begin = performance.now();
  let [best, since] = [Infinity, begin];
  for (let now = begin; now - since < WARM_MS && now - begin < MOST_WARM_MS; now = performance.now()) {
    const took = timed(run, batch(run));
    if (took < 0.9 * best) [best, since] = [took, performance.now()];
  }
}

/** How many runs are long enough for the clock. */
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
