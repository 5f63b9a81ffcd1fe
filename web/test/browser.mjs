// Chromium without a window, and without looking for hosts that it would like to know.

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRequire } from 'node:module';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
];

/** A browser's context with a new profile. */
export async function browser(options = {}) {
  const { chromium } = createRequire(import.meta.url)('playwright-core');
  const profile = await mkdtemp(join(tmpdir(), 'secateur-page-'));
  return chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS, ...options,
  });
}

/** Everything that a page complains about. */
export function complaints(page) {
  const found = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && found.push(message.text()));
  page.on('pageerror', (error) => found.push(String(error)));
  page.on('crash', () => found.push('the tab crashed'));
  return found;
}
