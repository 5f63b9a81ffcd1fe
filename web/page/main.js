// The page: a network, what it is shown, what it answers.

import { Engine } from './engine.js';
import { Input } from './input.js';
import { isDigits, look, numbers, picturesOf } from './seen.js';
import * as show from './show.js';
import { bytes, count, share, time } from './units.js';

/** Larger files are refused before a byte is read; the dense twins of larger networks are not made. */
const MOST_BYTES = 256e6;
/** Numbers of an input, at most: more would be more memory than a tab may take. */
const MOST_NUMBERS = 2 ** 24;

const $ = (id) => document.getElementById(id);
/** The network that is open: `{ network, about, twin, extents }`. */
let open = null;
let opening = 0;
let answering = false;
let stale = false;

const engine = new Engine(() => (open = null));
const input = new Input(changed, fail);

function fail(message) {
  $('error').textContent = message;
  $('error').hidden = false;
}

function forgive() {
  $('error').hidden = true;
}

/** Opens a network from its file. */
async function openNetwork(file, name = file.name) {
  const turn = ++opening;
  const still = () => turn === opening;
  try {
    if (file.size > MOST_BYTES) {
      throw new Error(`it has ${bytes(file.size)}; the page takes files of up to ${bytes(MOST_BYTES)}`);
    }
    forgive();
    $('about').textContent = `opening ${name}`;
    // What was open is closed first, so that there are never two networks in memory.
    const before = open;
    open = null;
    if (before) await close(before);
    const opened = await engine.call('open', { file, name });
    if (!still()) return close(opened);
    open = { ...opened, twin: null, extents: picturesOf(opened.about) };
    const numbers = open.about.input?.reduce((a, b) => a * b, 1);
    if (numbers > MOST_NUMBERS) open.about.problem = `its input has ${count(numbers)} numbers, up to ${count(MOST_NUMBERS)} can be given`;
    describe(name);
    if (open.about.problem) fail(`${name} cannot be run here: ${open.about.problem}`);
    else await makeTwin();
    if (still()) await Promise.all([measure(), changed()]);
    // A network that the engine failed on is open no more, and was complained about.
    if (still() && open) await show.weights($('weights'), open.about, picture, still);
  } catch (error) {
    if (!still()) return;
    fail(`${name}: ${error.message}`);
    if (!open) nothing();
  }
}

async function close({ network, twin }) {
  await engine.call('close', { network });
  if (twin) await engine.call('close', { network: twin.network });
}

async function makeTwin() {
  if (4 * open.about.parameters > MOST_BYTES) return;
  try {
    open.twin = await engine.call('twin', { network: open.network });
  } catch (error) {
    fail(`There is no dense network to compare with: ${error.message}`);
  }
}

function picture(weight, side) {
  return engine.call('picture', { network: open.network, weight, side });
}

function describe(name) {
  const { about, extents } = open;
  $('name').textContent = name;
  const left = share(about.nonzeros / Math.max(1, about.parameters));
  const takes = extents ? `, pictures of ${extents.width} × ${extents.height}` : '';
  $('about').textContent = `${bytes(about.bytes)}, ${count(about.parameters)} parameters, ${left} of them not zero${takes}`;
  $('engine').textContent = `Kernels for ${about.kernels}, one thread.`;
  input.takes(extents !== null && isDigits(extents));
  show.sides($('sides'), about, null, null);
  $('layers').replaceChildren();
  $('weights').replaceChildren();
}

function nothing() {
  $('name').textContent = 'No network';
  $('about').textContent = 'Open a .sct or .onnx file, or drop one on the page.';
  for (const id of ['sides', 'layers', 'weights', 'classes']) $(id).replaceChildren();
  $('answer').textContent = '–';
  $('took').textContent = '';
}

/** The input of the moment; half of it dark where nothing is shown, as pictures mostly are. */
function numbersNow() {
  if (open.extents && input.source) {
    look(input.source, $('seen'), open.extents, input.invert);
    return numbers($('seen'), open.extents, open.about.metadata);
  }
  const length = open.about.input.reduce((a, b) => a * b, 1);
  return Float32Array.from({ length }, (_, i) => (Math.floor(i / 7) % 2 ? ((i * 37) % 256) / 255 : 0));
}

/** Answers what is shown now; what comes while it does waits, and of that only the last. */
async function changed() {
  if (answering) return void (stale = true);
  answering = true;
  do {
    stale = false;
    await answer();
    if (input.moves) await new Promise(requestAnimationFrame);
  } while (stale || (input.moves && open));
  answering = false;
}

async function answer() {
  if (!open || open.about.problem) return;
  if (!input.source || !open.extents) {
    $('seen').width = $('seen').width;
    show.answer($('classes'), $('answer'), []);
    $('took').textContent = open.extents ? '' : 'it takes no pictures';
    return;
  }
  const { network, about } = open;
  try {
    const { scores, milliseconds } = await engine.call('run', { network, numbers: numbersNow() });
    if (open?.network !== network) return;
    show.answer($('classes'), $('answer'), show.ranked(scores, about));
    $('took').textContent = milliseconds >= 1 ? `in ${time(milliseconds)}` : 'in less than a millisecond';
  } catch (error) {
    fail(`The network could not be run: ${error.message}`);
  }
}

async function measure() {
  if (!open || open.about.problem) return;
  const { network, twin, about } = open;
  $('measure').disabled = true;
  $('measuring').textContent = 'measuring';
  try {
    const networks = twin ? [network, twin.network] : [network];
    const [after, before] = await engine.call('measure', { networks, numbers: numbersNow() });
    if (open?.network !== network) return;
    const times = [after.milliseconds, before?.milliseconds];
    show.sides($('sides'), about, twin?.about, times);
    show.layers($('layers'), after.steps, before?.steps);
  } catch (error) {
    fail(`The network could not be measured: ${error.message}`);
  } finally {
    $('measure').disabled = false;
    $('measuring').textContent = '';
  }
}

async function bundled({ file, name }) {
  try {
    const answer = await fetch(`networks/${file}`);
    if (!answer.ok) throw new Error(`the server says ${answer.status}`);
    await openNetwork(await answer.blob(), file);
  } catch (error) {
    fail(`${name}: ${error.message}`);
  }
}

function openFile(file) {
  return file.type.startsWith('image/') ? input.open(file) : openNetwork(file);
}

$('file').addEventListener('change', ({ target }) => {
  if (target.files[0]) openFile(target.files[0]);
  target.value = '';
});
$('measure').addEventListener('click', measure);
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  $('drop').hidden = false;
});
$('drop').addEventListener('dragleave', () => ($('drop').hidden = true));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').hidden = true;
  if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
});

const networks = await (await fetch('networks/index.json')).json();
for (const network of networks.toReversed()) {
  const button = show.element('button', {}, network.name);
  button.addEventListener('click', () => bundled(network));
  $('networks').prepend(button);
}
if (networks.length) await bundled(networks[0]);
else nothing();

// Another time the page comes from here, with a net or without.
if ('serviceWorker' in navigator) {
  try {
    await navigator.serviceWorker.register('sw.js');
    await navigator.serviceWorker.ready;
    $('offline').textContent = 'It works without a net now.';
  } catch {
    // A browser that keeps nothing, as in a private window, still runs the page.
  }
}
