// The engine as the page sees it: calls that come back, whatever becomes of the thread behind them.

/** Longer than any run that somebody would wait for. */
const PATIENCE_MS = 60_000;

export class Engine {
  #worker;
  #waiting = new Map();
  #next = 0;
  #onlost;

  /** `onlost` is told when the engine had to start anew, with no network open. */
  constructor(onlost = () => {}) {
    this.#onlost = onlost;
    this.#start();
  }

  call(call, given = {}) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const clock = setTimeout(() => this.#restart('it took more than a minute and was stopped'), PATIENCE_MS);
      this.#waiting.set(id, { resolve, reject, clock });
      this.#worker.postMessage({ id, call, given });
    });
  }

  #start() {
    this.#worker = new Worker('worker.js', { type: 'module' });
    this.#worker.onmessage = ({ data: { id, result, error, trapped } }) => {
      if (trapped) return this.#restart('it needs more memory than there is, or the engine failed on it');
      const waiting = this.#waiting.get(id);
      if (!waiting) return;
      this.#waiting.delete(id);
      clearTimeout(waiting.clock);
      if (error === undefined) waiting.resolve(result);
      else waiting.reject(new Error(error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#restart(event.message || 'the engine could not be started');
    };
  }

  #restart(reason) {
    this.#worker.terminate();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#start();
    this.#onlost();
    for (const { reject, clock } of waiting) {
      clearTimeout(clock);
      reject(new Error(reason));
    }
  }
}
