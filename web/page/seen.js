// Pictures as a network sees them: its extents, its channels, its means and deviations.

/** Share of a digit's picture that the digit fills, and what its background may be at most: as in MNIST. */
const FILLED = 20 / 28;
const BACKGROUND = 40;
/** Sides up to this are digits', which are put in the middle as those that networks learn from. */
const DIGIT_SIDE = 32;
/** Longest side that ink is looked for at: five pixels of a drawing are one of the network's. */
const LOOKED_AT = 140;

/** Extents of the pictures that a network takes: `{ channels, height, width }`, or null. */
export function picturesOf(about) {
  const dims = about.input;
  if (!dims || dims[0] !== 1) return null;
  if (dims.length === 4 && (dims[1] === 1 || dims[1] === 3)) {
    return { channels: dims[1], height: dims[2], width: dims[3] };
  }
  const side = Math.sqrt(dims[1]);
  return dims.length === 2 && Number.isInteger(side) ? { channels: 1, height: side, width: side } : null;
}

export function isDigits({ channels, height, width }) {
  return channels === 1 && Math.max(height, width) <= DIGIT_SIDE;
}

/** Draws `source` as the network will see it on `canvas`. */
export function look(source, canvas, extents, invert) {
  Object.assign(canvas, { width: extents.width, height: extents.height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  if (isDigits(extents)) return lookAtDigit(source, context, invert);
  cover(source, context);
  if (extents.channels === 1 || invert) {
    const image = pixels(context);
    const { data } = image;
    for (let i = 0; i < data.length; i += 4) {
      if (extents.channels === 1) data[i] = data[i + 1] = data[i + 2] = gray(data[i], data[i + 1], data[i + 2]);
      if (invert) for (let k = i; k < i + 3; k++) data[k] = 255 - data[k];
    }
    context.putImageData(image, 0, 0);
  }
}

/** The numbers of what is on the canvas, plane by plane. */
export function numbers(canvas, { channels, height, width }, metadata) {
  const { data } = pixels(canvas.getContext('2d', { willReadFrequently: true }));
  const [mean, std] = [figures(metadata.mean, channels, 0), figures(metadata.std, channels, 1)];
  const planes = new Float32Array(channels * height * width);
  for (let channel = 0; channel < channels; channel++) {
    for (let pixel = 0; pixel < height * width; pixel++) {
      const shade = data[4 * pixel + channel] / 255;
      planes[channel * height * width + pixel] = (shade - mean[channel]) / std[channel];
    }
  }
  return planes;
}

/** Whether the border of a picture is light, as that of a page of paper. */
export function isPaper(source) {
  const canvas = new OffscreenCanvas(32, 32);
  const context = canvas.getContext('2d');
  cover(source, context);
  const { data } = pixels(context);
  let sum = 0;
  for (let i = 0; i < 32; i++) {
    for (const pixel of [i, 32 * 31 + i, 32 * i, 32 * i + 31]) sum += gray(data[4 * pixel], data[4 * pixel + 1], data[4 * pixel + 2]);
  }
  return sum / 128 > 127;
}

function figures(text, channels, otherwise) {
  const found = (text ?? '').split(/\s+/).filter(Boolean).map(Number);
  return found.length === channels ? found : Array(channels).fill(found.length === 1 ? found[0] : otherwise);
}

function gray(r, g, b) {
  return 0.299 * r + 0.587 * g + 0.114 * b;
}

function pixels(context) {
  return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
}

/** The middle of `source`, as large as fits. */
function cover(source, context) {
  const { width, height } = context.canvas;
  const [w, h] = extentsOf(source);
  const scale = Math.max(width / w, height / h);
  const [dw, dh] = [w * scale, h * scale];
  context.drawImage(source, (width - dw) / 2, (height - dh) / 2, dw, dh);
}

function extentsOf(source) {
  return [source.videoWidth ?? source.naturalWidth ?? source.width, source.videoHeight ?? source.naturalHeight ?? source.height];
}

/** Light ink on black, as large and as much in the middle as the digits of MNIST. */
function lookAtDigit(source, context, invert) {
  const { width, height } = context.canvas;
  context.fillStyle = '#000';
  context.fillRect(0, 0, width, height);
  const ink = inkOf(source, invert);
  const box = boxOf(ink);
  if (!box) return;
  const scale = (FILLED * Math.min(width, height)) / Math.max(box.width, box.height);
  // The centre of the ink's mass goes to the middle, as far as all of the ink stays within.
  const within = (place, least, most) => Math.min(Math.max(place, -least * scale), most);
  const x = within(width / 2 - box.x * scale, box.left, width - (box.left + box.width) * scale);
  const y = within(height / 2 - box.y * scale, box.top, height - (box.top + box.height) * scale);
  // Halves until the last step, which alone smooths too little.
  let from = ink.canvas;
  let left = scale;
  while (left < 0.5) {
    const half = new OffscreenCanvas(Math.ceil(from.width / 2), Math.ceil(from.height / 2));
    half.getContext('2d').drawImage(from, 0, 0, from.width / 2, from.height / 2);
    [from, left] = [half, left * 2];
  }
  context.drawImage(from, x, y, from.width * left, from.height * left);
}

/** Gray levels stretched so that the background is black and the ink white. */
function inkOf(source, invert) {
  const [w, h] = extentsOf(source);
  const side = Math.min(LOOKED_AT, Math.max(w, h));
  const scale = side / Math.max(w, h);
  const context = new OffscreenCanvas(Math.max(1, Math.round(w * scale)), Math.max(1, Math.round(h * scale))).getContext('2d');
  context.drawImage(source, 0, 0, context.canvas.width, context.canvas.height);
  const image = pixels(context);
  const shades = new Uint8Array(image.data.length / 4);
  const { data } = image;
  for (let i = 0; i < shades.length; i++) {
    const shade = gray(data[4 * i], data[4 * i + 1], data[4 * i + 2]);
    shades[i] = invert ? 255 - shade : shade;
  }
  // Most of a picture of a digit is background; of paper, it is not all of one shade.
  const sorted = shades.slice().sort();
  const [low, high] = [sorted[sorted.length >> 1], sorted[sorted.length - 1]];
  const floor = low === 0 ? 0 : low + 0.35 * (high - low);
  for (let i = 0; i < shades.length; i++) {
    shades[i] = Math.max(0, Math.min(255, (255 * (shades[i] - floor)) / Math.max(1, high - floor)));
    data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = shades[i];
    data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return { canvas: context.canvas, shades };
}

/** The extents of the ink, and the centre of its mass; null where there is none. */
function boxOf({ canvas: { width, height }, shades }) {
  let [left, right, top, bottom, mass, x, y] = [width, -1, height, -1, 0, 0, 0];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const shade = shades[row * width + column];
      if (shade <= BACKGROUND) continue;
      [left, right] = [Math.min(left, column), Math.max(right, column)];
      [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
      mass += shade;
      x += shade * (column + 0.5);
      y += shade * (row + 0.5);
    }
  }
  if (mass === 0) return null;
  return { left, top, width: right - left + 1, height: bottom - top + 1, x: x / mass, y: y / mass };
}
