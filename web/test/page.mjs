// Opens the page as people do: loads, draws, drops files good and bad, goes on without a net.
//   node page.mjs [--shots FOLDER]     also keeps pictures of the page

import assert from 'node:assert/strict';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { browser, complaints } from './browser.mjs';
import { DIGITS, draw } from './digits.mjs';
import { concat } from './onnx.mjs';
import { serve } from './serve.mjs';

const DIST = new URL('../dist/', import.meta.url).pathname;
const NETWORK = 'lenet-5.sct';
const shots = process.argv.includes('--shots') && process.argv[process.argv.indexOf('--shots') + 1];

const folder = await mkdtemp(join(tmpdir(), 'secateur-files-'));
const server = await serve(DIST);
const context = await browser({ viewport: { width: 1000, height: 1000 }, colorScheme: 'light', acceptDownloads: false });
const page = await context.newPage();
const found = complaints(page);

async function step(name, work) {
  const start = performance.now();
  await work();
  console.log(`ok  ${name} (${Math.round(performance.now() - start)} ms)`);
}

const text = (id) => page.locator(`#${id}`).textContent();
const until = (check, argument) => page.waitForFunction(check, argument, { timeout: 60_000 });
const measured = () => until(() => document.querySelectorAll('#layers tbody tr').length > 1
  && document.querySelectorAll('#weights canvas').length > 0 && !document.getElementById('measure').disabled);
const answers = (digit) => until((wanted) => document.getElementById('answer').textContent === wanted, String(digit));
const error = async (pattern) => {
  await until((source) => {
    const error = document.getElementById('error');
    return !error.hidden && new RegExp(source).test(error.textContent);
  }, pattern);
  return text('error');
};
const again = async () => {
  await page.getByRole('button', { name: 'LeNet-5' }).click();
  await until((name) => document.getElementById('name').textContent === name, NETWORK);
  await measured();
  assert.equal(await page.locator('#error').isVisible(), false);
};

try {
  await step('it loads', async () => {
    await page.goto(server.address);
    await until((name) => document.getElementById('name').textContent === name, NETWORK);
    await measured();
    assert.match(await text('about'), /[0-9,]+ parameters, [0-9.]+ % of them not zero, pictures of 28 × 28/);
    assert.match(await text('sides'), /× smaller/);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  });
  for (const digit of Object.keys(DIGITS)) {
    await step(`a drawn ${digit} is a ${digit}`, async () => {
      await draw(page, digit);
      await answers(digit);
    });
  }
  if (shots) await picture('page', { width: 1000, height: 1000 });
  await step('a photo of ink on paper', async () => {
    const scan = await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(400, 300);
      const context = canvas.getContext('2d');
      Object.assign(context, { fillStyle: '#e8e2d5', strokeStyle: '#23304f', lineWidth: 16, lineCap: 'round' });
      context.fillRect(0, 0, 400, 300);
      context.stroke(new Path2D('M150 80H240L190 220'));
      return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
    });
    await drop('seven.png', scan, 'image/png');
    await answers(7);
  });
  await step('the camera', async () => {
    await page.getByRole('tab', { name: 'Camera' }).click();
    await until(() => document.getElementById('camera').videoWidth > 0 && document.getElementById('answer').textContent !== '–');
    await page.getByRole('tab', { name: 'Draw' }).click();
    assert.equal(await page.evaluate(() => document.getElementById('camera').srcObject), null);
  });
  const good = await readFile(join(DIST, 'networks', NETWORK));
  const flipped = Buffer.from(good);
  flipped[good.length >> 1] ^= 0x10;
  const noise = Buffer.from(Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) >> 3));
  const bad = {
    'flipped.sct': flipped, 'short.sct': good.subarray(0, good.length - 9), 'noise.onnx': noise, 'noise.sct': noise,
    'empty.sct': Buffer.alloc(0), 'noise.net': noise,
  };
  for (const [name, bytes] of Object.entries(bad)) {
    await step(`dropped: ${name}`, async () => {
      await drop(name, [...bytes], '');
      console.log(`      ${await error(`^${name.replace('.', '\\.')}: `)}`);
    });
  }
  await step('a picture that is none', async () => {
    await drop('noise.png', [...noise], 'image/png');
    await error('noise\\.png');
  });
  await step('a file of 2 GB', async () => {
    const path = join(folder, 'large.onnx');
    const file = await open(path, 'w');
    await file.truncate(2 ** 31);
    await file.close();
    await page.setInputFiles('#file', path);
    console.log(`      ${await error('large\\.onnx: .*2\\.1 GB')}`);
  });
  await step('networks that ask for too much', async () => {
    for (const [side, reason] of [[30000, 'address space'], [5000, '25,000,000 numbers']]) {
      await drop('wide.onnx', [...concat([1, 1, side, side], 2)], '');
      console.log(`      ${await error(`^wide\\.onnx cannot be run here: .*${reason}`)}`);
    }
    for (const times of [12, 40]) {
      await drop('deep.onnx', [...concat([1, 1, 4000, 4000], times)], '');
      console.log(`      ${await error('cannot be run|memory')}`);
      await again();
    }
  });
  await step('after all that it still answers', async () => {
    await again();
    await draw(page, 3);
    await answers(3);
  });
  await step('without a net', async () => {
    await until(() => document.getElementById('offline').textContent !== '');
    await page.reload();
    await until(() => navigator.serviceWorker.controller !== null);
    server.stop();
    await context.setOffline(true);
    await page.reload();
    await measured();
    await draw(page, 7);
    await answers(7);
    await context.setOffline(false);
  });
  await step('on a phone', async () => {
    await page.setViewportSize({ width: 375, height: 812 });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 375, `${width} pixels wide`);
  });
  if (shots) {
    await page.emulateMedia({ colorScheme: 'dark' });
    await picture('dark', { width: 1000, height: 1000 });
    await picture('phone', { width: 375, height: 812 }, true);
  }
  assert.deepEqual(found, []);
  console.log('ok  nothing on the console');
} catch (problem) {
  console.error(problem);
  console.error('on the console:', found, 'the page says:', await text('error').catch(() => '?'), await text('answer').catch(() => '?'));
  if (shots) await page.screenshot({ path: join(shots, 'failed.png'), fullPage: true });
  process.exitCode = 1;
} finally {
  server.stop();
  await context.close();
  await rm(folder, { recursive: true });
}

/** Drops a file on the page. */
async function drop(name, bytes, type) {
  await page.evaluate(([name, bytes, type]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(bytes)], name, { type }));
    const send = (kind) => document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    send('dragover');
    send('drop');
  }, [name, bytes, type]);
}

async function picture(name, viewport, fullPage = false) {
  await page.setViewportSize(viewport);
  await writeFile(join(shots, `${name}.png`), await page.screenshot({ fullPage }));
}
