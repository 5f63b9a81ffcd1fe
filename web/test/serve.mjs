// Serves a folder on a free port, as `secateur web` does; with `SECATEUR` set, that command does it.
// More folders may stand under names of their own: serve(folder, { '/ort/': other }).

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { createInterface } from 'node:readline';

const KINDS = {
  '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.mjs': 'text/javascript', '.json': 'application/json',
  '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.webmanifest': 'application/manifest+json',
};

export async function serve(folder, others = {}) {
  const command = process.env.SECATEUR;
  if (command && !Object.keys(others).length) {
    const child = spawn(command, ['web', '--port', '0', '--dir', folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith('http://')) return { address: line.trim(), stop: () => child.kill('SIGTERM') };
    }
    throw new Error(`${command} web: no address`);
  }
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://x').pathname));
    const other = Object.keys(others).find((prefix) => path.startsWith(prefix));
    const file = other ? join(others[other], path.slice(other.length)) : join(folder, path === '/' ? 'index.html' : path);
    const isolated = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
    try {
      const bytes = await readFile(file);
      response.writeHead(200, { 'Content-Type': KINDS[extname(file)] ?? 'application/octet-stream', ...isolated });
      response.end(bytes);
    } catch {
      response.writeHead(404, isolated).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { address: `http://127.0.0.1:${server.address().port}/`, stop: () => server.close() };
}
