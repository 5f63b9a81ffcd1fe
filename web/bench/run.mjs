// The page's engine beside ONNX Runtime Web, on files of one's own:
//   web/build.sh && (cd web/test && npm install) && (cd web/bench && npm install)
//   node web/bench/run.mjs lenet-5.sct lenet-5-qdq.onnx
// An .onnx file is run by both; prints a Markdown table, and JSON with --json FILE.

import { cpus } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { browser, complaints } from '../test/browser.mjs';
import { serve } from '../test/serve.mjs';

const here = dirname(new URL(import.meta.url).pathname);
const given = process.argv.slice(2);
const at = given.indexOf('--json');
const json = at < 0 ? null : given.splice(at, 2)[1];
const folder = await mkdtemp(join(tmpdir(), 'secateur-bench-'));
for (const file of given) await symlink(resolve(file), join(folder, basename(file)));

const server = await serve(join(here, '../dist'), {
  '/bench/': here, '/files/': folder, '/ort/': join(here, 'node_modules/onnxruntime-web/dist'),
});
const context = await browser();
try {
  const page = await context.newPage();
  const found = complaints(page);
  await page.goto(`${server.address}bench/index.html`);
  await page.waitForFunction(() => globalThis.ready, null, { timeout: 120_000 });
  const about = await page.evaluate(() => globalThis.ready);
  const version = context.browser()?.version() ?? (await page.evaluate(() => navigator.userAgent.match(/Chrome\/([\d.]+)/)[1]));
  console.log(`${cpus()[0].model}, Chromium ${version}, onnxruntime-web ${about.ort}; one thread, batch 1, ms: median of 15 batches (least)\n`);
  console.log('| file | bytes | Secateur | onnxruntime-web | opened and run first, Secateur | onnxruntime-web | cosine of outputs |');
  console.log('|---|---|---|---|---|---|---|');
  const results = [];
  for (const file of given) {
    const result = await page.evaluate((name) => globalThis.measure(name), basename(file));
    results.push(result);
    const ms = (figure) => (figure === undefined ? '' : figure.toFixed(figure < 10 ? 3 : 1));
    const time = (times) => (times ? `${ms(times.median)} (${ms(times.least)})` : '');
    const { median_ms: run, first_ms: first } = result;
    console.log(`| ${result.name} | ${result.bytes} | ${time(run.secateur)} | ${time(run.ort)} | ${ms(first.secateur)} | ${ms(first.ort)} | ${result.cosine?.toFixed(5) ?? ''} |`);
  }
  if (json) await writeFile(json, JSON.stringify({ ...about, results }, null, 2));
  if (found.length) console.error('on the console:', found);
} finally {
  server.stop();
  await context.close();
  await rm(folder, { recursive: true });
}
