// Both engines in one page, on one thread, their batches in turns, so that what disturbs one disturbs both.

import { load } from '/module.js';
import { median } from '/timing.js';
import * as ort from '/ort/ort.wasm.min.mjs';

const ROUNDS = 15;
const BATCH_MS = 20;
const WARM_MS = 2000;

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = '/ort/';
ort.env.logLevel = 'error';
const engine = await load('/');

/** Opens a file with both (a `.sct` with the one alone) and times runs of both on the same numbers. */
globalThis.measure = async (name) => {
  const file = await (await fetch(`/files/${name}`)).blob();
  const opening = performance.now();
  const { network, about } = await engine.open(file, name);
  if (about.problem) throw new Error(about.problem);
  const numbers = inputOf(about.input);
  engine.give(numbers);
  const first = engine.run(network);
  const runs = { secateur: async () => engine.run(network) };
  const result = { name, bytes: file.size, first_ms: { secateur: performance.now() - opening } };
  if (name.endsWith('.onnx')) {
    const opening = performance.now();
    const session = await ort.InferenceSession.create(new Uint8Array(await file.arrayBuffer()), {
      executionProviders: ['wasm'], graphOptimizationLevel: 'all',
    });
    const given = { [session.inputNames[0]]: new ort.Tensor('float32', numbers, about.input) };
    const other = (await session.run(given))[session.outputNames[0]].data;
    result.first_ms.ort = performance.now() - opening;
    result.cosine = cosine(first, other);
    result.same_answer = best(first) === best(other);
    runs.ort = () => session.run(given);
  }
  result.median_ms = await inTurns(runs);
  engine.close(network);
  return result;
};

/** Median milliseconds of a run of each. */
async function inTurns(runs) {
  const names = Object.keys(runs);
  const sizes = {};
  // What is hot is compiled a second time while it runs.
  for (const name of names) {
    for (const begin = performance.now(); performance.now() - begin < WARM_MS; ) await runs[name]();
  }
  for (const name of names) {
    for (sizes[name] = 1; (await timed(runs[name], sizes[name])) * sizes[name] < BATCH_MS && sizes[name] < 4096; ) sizes[name] *= 2;
  }
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of names) times[name].push(await timed(runs[name], sizes[name]));
  }
  return Object.fromEntries(names.map((name) => [name, { median: median(times[name]), least: Math.min(...times[name]) }]));
}

async function timed(run, runs) {
  const start = performance.now();
  for (let i = 0; i < runs; i++) await run();
  return (performance.now() - start) / runs;
}

/** Half of it dark, as pictures are. */
function inputOf(dims) {
  const length = dims.reduce((a, b) => a * b, 1);
  return Float32Array.from({ length }, (_, i) => (Math.floor(i / 7) % 2 ? ((i * 37) % 256) / 255 : 0));
}

function cosine(a, b) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

function best(scores) {
  return scores.indexOf(Math.max(...scores));
}

globalThis.ready = { ort: ort.env.versions.web, isolated: crossOriginIsolated };
