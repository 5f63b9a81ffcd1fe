// Digits as people draw them, in lines over a square of one by one.

const arc = (x, y, rx, ry, from, to, steps = 12) =>
  Array.from({ length: steps + 1 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / steps) * Math.PI) / 180;
    return [x + rx * Math.cos(angle), y + ry * Math.sin(angle)];
  });

export const DIGITS = {
  0: [arc(0.5, 0.5, 0.2, 0.3, -90, 270)],
  1: [[[0.52, 0.18], [0.5, 0.82]]],
  2: [[...arc(0.5, 0.36, 0.18, 0.17, -170, 40), [0.32, 0.8], [0.72, 0.8]]],
  3: [[...arc(0.47, 0.35, 0.19, 0.16, -150, 90), ...arc(0.47, 0.66, 0.2, 0.16, -90, 150)]],
  4: [[[0.36, 0.2], [0.32, 0.55], [0.7, 0.55]], [[0.62, 0.2], [0.6, 0.85]]],
  5: [[[0.68, 0.2], [0.38, 0.2], [0.36, 0.46], ...arc(0.48, 0.63, 0.2, 0.18, -120, 150)]],
  7: [[[0.3, 0.22], [0.7, 0.22], [0.46, 0.84]]],
};

/** Draws one on the pad with the mouse. */
export async function draw(page, digit) {
  await page.click('#clear');
  const box = await page.locator('#pad').boundingBox();
  const place = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  for (const line of DIGITS[digit]) {
    await page.mouse.move(...place(line[0]));
    await page.mouse.down();
    for (const point of line.slice(1)) await page.mouse.move(...place(point), { steps: 2 });
    await page.mouse.up();
  }
}
