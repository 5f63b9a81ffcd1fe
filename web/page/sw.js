// Keeps the page, so that it works without a net. The build puts in what there is and a version made of all its bytes.

const CACHE = 'secateur-@VERSION@';
const FILES = '@FILES@'.split(' ');

addEventListener('install', (event) => {
  // Not from the browser's own cache, which may hold files of another version.
  const fresh = FILES.map((file) => new Request(file, { cache: 'reload' }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)));
});

addEventListener('activate', (event) => {
  const drop = (name) => name.startsWith('secateur-') && name !== CACHE && caches.delete(name);
  event.waitUntil(caches.keys().then((names) => Promise.all(names.map(drop))));
});

addEventListener('fetch', (event) => {
  if (event.request.method !== 'GET') return;
  const kept = async () => {
    const cache = await caches.open(CACHE);
    return (await cache.match(event.request, { ignoreSearch: true })) ?? fetch(event.request);
  };
  event.respondWith(kept());
});
