// The engine's module: bytes are given where it has room, answers are read where it says they lie.

const FORMS = { sct: 1, net: 2 };

/** A module of one relaxed instruction: only browsers that have those take it for one. */
const RELAXED = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11,
]);

/** Loads the engine that this browser takes, from a folder. */
export async function load(folder) {
  const address = folder + (WebAssembly.validate(RELAXED) ? 'engine-relaxed.wasm' : 'engine.wasm');
  const imports = { page: { now: () => performance.now() } };
  const { instance } = await WebAssembly.instantiateStreaming(fetch(address), imports);
  return new Module(instance.exports);
}

class Module {
  #exports;

  constructor(exports) {
    this.#exports = exports;
  }

  /** Gives a file's bytes piece by piece, so that there are never two copies of it, and opens the network. */
  async open(file, name = file.name) {
    const start = this.#room(file.size);
    let at = start;
    for (const reader = file.stream().getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > start + file.size) throw new Error(`${name}: the file changed while it was read`);
      new Uint8Array(this.#exports.memory.buffer, at, value.length).set(value);
      at += value.length;
    }
    if (at < start + file.size) throw new Error(`${name}: the file changed while it was read`);
    const form = FORMS[name.split('.').pop().toLowerCase()] ?? 0;
    return this.#opened(this.#exports.open(form));
  }

  /** The same network in f32, nothing left out. */
  twin(network) {
    return this.#opened(this.#exports.twin(network));
  }

  /** Gives the numbers of an input, for the runs that follow. */
  give(numbers) {
    const start = this.#room(numbers.byteLength);
    new Float32Array(this.#exports.memory.buffer, start, numbers.length).set(numbers);
  }

  /** Runs a network on what was given. */
  run(network) {
    this.#check(this.#exports.run(network));
    return new Float32Array(this.#answer().slice().buffer);
  }

  /** The mean time of each step. */
  time(network, runs) {
    this.#check(this.#exports.time(network, runs));
    return JSON.parse(this.#text());
  }

  /** Which weights are left: `{ width, height, shades }`. */
  picture(network, weight, side) {
    this.#check(this.#exports.picture(network, weight, side));
    const bytes = this.#answer().slice();
    const [width, height] = new Uint32Array(bytes.buffer, 0, 2);
    return { width, height, shades: bytes.subarray(8) };
  }

  close(network) {
    this.#exports.close(network);
  }

  #room(bytes) {
    const start = this.#exports.room(bytes) >>> 0;
    if (start === 0) throw new Error('there is not enough memory for it');
    return start;
  }

  #opened(network) {
    this.#check(network);
    return { network, about: JSON.parse(this.#text()) };
  }

  #check(status) {
    if (status < 0) throw new Error(this.#text());
  }

  #answer() {
    const { memory, answer, answer_bytes } = this.#exports;
    return new Uint8Array(memory.buffer, answer() >>> 0, answer_bytes() >>> 0);
  }

  #text() {
    return new TextDecoder().decode(this.#answer());
  }
}
