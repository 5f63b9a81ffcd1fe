// The engine on a thread of its own, so that a long run does not stop the page.

import { load } from './module.js';
import { beside } from './timing.js';

/** Runs of which each layer is timed, in milliseconds. */
const LAYERS_MS = 300;

const module = load('');

const calls = {
  async open(engine, { file, name }) {
    const opened = await engine.open(file, name);
    return opened;
  },
  twin: (engine, { network }) => engine.twin(network),
  close: (engine, { network }) => engine.close(network),
  run(engine, { network, numbers }) {
    engine.give(numbers);
    const start = performance.now();
    const scores = engine.run(network);
    return { scores, milliseconds: performance.now() - start };
  },
  /** Times of whole runs, and of each step. */
  measure(engine, { networks, numbers }) {
    engine.give(numbers);
    const times = beside(networks.map((network) => () => engine.run(network)));
    const runs = (ms) => Math.max(1, Math.min(1000, Math.round(LAYERS_MS / Math.max(ms, 1e-3))));
    return networks.map((network, index) => ({
      milliseconds: times[index],
      steps: engine.time(network, runs(times[index])),
    }));
  },
  picture: (engine, { network, weight, side }) => engine.picture(network, weight, side),
};

// One after the other: an answer lies where the next one will.
let last = module;
onmessage = ({ data: { id, call, given } }) => {
  last = last.catch(() => {}).then(async () => {
    try {
      postMessage({ id, result: await calls[call](await module, given) });
    } catch (error) {
      // What the engine refuses is an `Error` with its reason; after a trap its memory is not to be trusted.
      const trapped = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
      postMessage({ id, error: error.message, trapped });
    }
  });
};
