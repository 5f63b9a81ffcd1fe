// Figures as people read them.

export function bytes(n) {
  const units = ['bytes', 'kB', 'MB', 'GB'];
  let unit = 0;
  while (n >= 1000 && unit + 1 < units.length) [n, unit] = [n / 1000, unit + 1];
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function count(n) {
  return n.toLocaleString('en');
}

export function time(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1) return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return micro(ms * 1000);
}

export function micro(us) {
  return us >= 1000 ? time(us / 1000) : `${us < 10 ? us.toFixed(1) : Math.round(us)} µs`;
}

export function share(part) {
  const percent = 100 * part;
  return `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** How many times `a` is `b`. */
export function ratio(a, b) {
  const times = a / b;
  return times < 10 ? times.toFixed(1) : count(Math.round(times));
}
